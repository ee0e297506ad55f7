//! A run under way on a terminal: lines at the bottom that move, what is notable above them.
//!
//! Knows indicatif, and nothing of how a run is driven.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::{Event, Progress, RunState, Wait};
use crate::model::TaskId;

use super::live::{self, Live, Tally};
use super::look::{Ink, Look};
use super::news::{News, Weight};
use super::{Reporter, escape, wait, words};

/// The shortest time between two drawings, in milliseconds.
const PAUSE: u64 = 100;
/// The most lines at the bottom, however high the terminal.
const MOST: usize = 24;

/// Draws on standard error.
pub struct Terminal {
    screen: MultiProgress,
    bar: ProgressBar,
    /// Columns and rows of the terminal now.
    size: Box<dyn Fn() -> (usize, usize) + Send>,
    look: Look,
    news: News,
    live: Live,
    drawn: u64,
}

impl Terminal {
    /// Draws on standard error, which must be a terminal.
    pub fn stderr(colour: bool) -> Self {
        let size = || match rustix::termios::tcgetwinsize(std::io::stderr()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => (80, 24),
        };
        Self::on(ProgressDrawTarget::stderr_with_hz(10), Box::new(size), colour)
    }

    fn on(
        target: ProgressDrawTarget,
        size: Box<dyn Fn() -> (usize, usize) + Send>,
        colour: bool,
    ) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{msg}").expect("BUG: the template of the bar is wrong"),
        );
        Self {
            bar: screen.add(bar),
            screen,
            size,
            look: Look { colour, run_dir: None },
            news: News::default(),
            live: Live::default(),
            drawn: 0,
        }
    }

    /// The lines at the bottom, each narrower than `columns`.
    fn lines(&self, now: u64, state: &RunState, columns: usize, rows: usize) -> Vec<String> {
        let tally = Tally::of(state);
        let mut lines = vec![self.head(&tally, now, state, columns)];
        if let Some((gate, line)) = &self.live.gate {
            let text = escape::cut(&format!("  gate {gate}  {line}"), columns);
            lines.push(self.look.ink(Ink::Faint, &text));
        }
        // The lowest row stays free: a terminal scrolls when something is written there.
        let room = rows.saturating_sub(lines.len() + 1).min(MOST);
        let count = self.live.order.len();
        let fit = if count <= room { count } else { room.saturating_sub(1) };
        let shown: Vec<_> = self.live.order.iter().take(fit).collect();
        let wide = shown.iter().map(|task| task.as_str().len()).max().unwrap_or(0).min(28);
        for task in shown {
            let Some(running) = self.live.running.get(task) else { continue };
            let time = words::clock(now.saturating_sub(running.since));
            let name = escape::pad(&escape::cut(task.as_str(), wide), wide);
            let start = escape::cut(&format!("  {name} {time:>12}  "), columns);
            let line = escape::cut(&running.line, columns - escape::width(&start));
            lines.push(format!("{start}{}", self.look.ink(Ink::Faint, &line)));
        }
        if fit < count && room == 0 {
            return lines;
        }
        if fit < count {
            let text = escape::cut(&format!("  +{} more running", count - fit), columns);
            lines.push(self.look.ink(Ink::Faint, &text));
        } else if let Some(Wait { task, on, holder, until }) =
            self.live.waiting.values().next().filter(|_| fit < room)
        {
            // Who holds it in this run may have changed since.
            let own = |task: &TaskId| self.live.running.contains_key(task);
            let holder =
                holder.as_ref().filter(|holder| holder.run != state.run || own(&holder.task));
            let held = wait::held(&state.run, on, holder, *until);
            let more = match self.live.waiting.len() {
                1 => String::new(),
                many => format!(" (and {} more)", many - 1),
            };
            let text = escape::cut(&format!("  {task} waits{more}: {held}"), columns);
            lines.push(self.look.ink(Ink::Faint, &text));
        }
        lines
    }

    fn head(&self, tally: &Tally, now: u64, state: &RunState, columns: usize) -> String {
        let (wave, waves) = live::wave(state);
        let mut parts = Vec::new();
        if waves > 1 {
            parts.push(format!("wave {wave} of {waves}"));
        }
        parts.push(tally.words());
        parts.push(words::clock(now.saturating_sub(state.started)));
        if state.adapts {
            parts.push(format!("{} at once", state.jobs_now()));
        }
        if state.interrupted {
            parts.push("stopping".to_owned());
        } else if let Some(left) = tally.left(state.jobs_now()).filter(|left| *left >= 1_000) {
            parts.push(format!("about {} left", words::clock(left)));
        }
        let text = parts.join(", ");
        self.look.ink(Ink::Head, &escape::cut(&text, columns))
    }

    fn draw(&mut self, now: u64, state: &RunState) {
        if now.saturating_sub(self.drawn) < PAUSE {
            return;
        }
        self.drawn = now;
        let (columns, rows) = (self.size)();
        // One column stays free, since a full line makes some terminals begin another.
        let lines = self.lines(now, state, columns.saturating_sub(1), rows);
        self.bar.set_message(lines.join("\n"));
    }
}

impl Reporter for Terminal {
    fn event(&mut self, event: &Event, state: &RunState) {
        self.live.event(event);
        let columns = (self.size)().0.saturating_sub(1);
        for item in self.news.of(event, state) {
            if item.weight < Weight::Step {
                continue;
            }
            let text = self.look.ink(item.ink, &escape::cut(item.text.trim_end(), columns));
            // A terminal that can't be written to is the end of telling, not of the run.
            let _ = self.screen.println(text);
            // What a task or gate printed is in the report at the end; what todone itself has to say may be
            // nowhere else. It is not cut, since it may be a command.
            for line in item.below.iter().filter(|_| item.whose.is_empty()) {
                let line = format!("            │ {line}");
                let _ = self.screen.println(self.look.ink(Ink::Faint, &line));
            }
        }
        self.draw(event.at, state);
    }

    fn progress(&mut self, progress: &Progress, _: &RunState) {
        self.live.progress(progress);
    }

    fn tick(&mut self, now: u64, state: &RunState) {
        self.draw(now, state);
    }

    fn finish(&mut self, _: &RunState) {
        for line in self.news.rest() {
            let _ = self.screen.println(self.look.ink(Ink::Bad, &format!("  {line}")));
        }
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::event::EventKind;
    use crate::model::RunId;

    /// A terminal that notes what is written, a drawing ends with a flush.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn note(&self, text: &str) -> io::Result<()> {
            let mut drawings = self.0.lock().expect("no panic");
            if drawings.is_empty() {
                drawings.push(String::new());
            }
            drawings.last_mut().expect("a drawing").push_str(text);
            Ok(())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            60
        }
        fn height(&self) -> u16 {
            8
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            self.0.lock().expect("no panic").push(String::new());
            Ok(())
        }
    }

    fn events() -> Vec<Event> {
        let lines = include_str!("../../fixtures/runs/many-fail-alike/events.jsonl");
        lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
    }

    #[test]
    fn what_runs_fits_the_terminal() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 10);
        let mut terminal = Terminal::on(target, Box::new(|| (60, 8)), false);
        let mut all = events();
        // Everything starts, nothing ends.
        all.retain(|event| {
            !matches!(event.kind, EventKind::AttemptEnded { .. }) && event.seq < 200
        });
        let run = RunId::of_board("rename", "k3f9");
        let mut state = RunState::begin(&run, &all[0]).expect("a run");
        for (place, event) in all.iter().enumerate() {
            let mut event = event.clone();
            event.seq = place as u64 + 1;
            if place > 0 {
                state.apply(&event).expect("an event that can follow");
            }
            terminal.event(&event, &state);
        }
        let line = "\x1b[2Jcompiling 日本語日本語日本語日本語日本語日本語日本語 and more"
            .as_bytes()
            .to_vec();
        let task = terminal.live.order[0].clone();
        terminal.progress(&Progress::Line { task, line }, &state);
        let gate = Progress::GateLine { gate: "gate".to_owned(), line: b"testing".to_vec() };
        terminal.progress(&gate, &state);

        let now = state.started + 65_000;
        let lines = terminal.lines(now, &state, 59, 8);
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert!(lines.iter().all(|line| escape::width(line) <= 59), "{lines:?}");
        assert!(!lines.concat().contains(char::is_control));
        assert!(lines[0].starts_with("wave 1 of 2, 0 of 401 tasks done, "), "{lines:?}");
        assert_eq!(lines[1], "  gate gate  testing");
        assert!(lines[2].contains("codemod.0") && lines[2].contains("1 min 5 s  compiling 日"));
        assert_eq!(lines[6], format!("  +{} more running", terminal.live.order.len() - 4));
        for (columns, rows) in [(0, 0), (1, 1), (20, 2), (500, 500)] {
            let lines = terminal.lines(now, &state, columns, rows);
            assert!(lines.len() <= rows.clamp(2, MOST + 2), "{lines:?}");
        }
    }

    #[test]
    fn it_draws_seldom_and_tells_what_is_notable_once() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 10);
        let mut terminal = Terminal::on(target, Box::new(|| (60, 8)), false);
        let all = events();
        let run = RunId::of_board("rename", "k3f9");
        let mut state = RunState::begin(&run, &all[0]).expect("a run");
        for event in &all {
            if event.seq > 1 {
                state.apply(event).expect("an event that can follow");
            }
            terminal.event(event, &state);
            for later in 0..20 {
                terminal.tick(event.at + later, &state);
            }
        }
        terminal.finish(&state);
        let drawings = screen.0.lock().expect("no panic").clone();
        let times = drawings.len() as u64;
        let span = state.updated - state.started;
        assert!(times <= span / PAUSE + 30, "{times} drawings in {span} ms");
        let text = drawings.concat();
        assert_eq!(text.matches("✗ failed    codemod.").count(), 3, "{text}");
        assert!(text.contains("387 more failed: exit status 127"), "{text}");
        assert!(text.contains("not landed: not every task succeeded"), "{text}");
    }
}
