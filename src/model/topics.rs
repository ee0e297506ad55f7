//! Which topics bring nothing, whatever happens.
//!
//! Knows the plan; what was published is known elsewhere.

use std::collections::BTreeSet;

use super::{Board, Plan, Schedule, TaskId};

impl Board {
    /// What is to be said of tasks that can hear nothing on a topic: by waves those of earlier waves are
    /// heard, else those that don't wait for the hearer.
    pub fn deaf(&self, plan: &Plan) -> Vec<String> {
        let mut lines = Vec::new();
        for task in self.tasks.iter().filter(|task| !task.subscribe.is_empty()) {
            let own = plan.wave_of(&task.id);
            let after = match self.schedule {
                Schedule::Eager => self.waiting_for(&task.id),
                Schedule::Waves => BTreeSet::new(),
            };
            for topic in &task.subscribe {
                let others = self.tasks.iter().filter(|other| other.id != task.id);
                let by: Vec<&TaskId> = others
                    .filter(|other| other.publish.contains(topic))
                    .map(|other| &other.id)
                    .collect();
                let heard = |id: &&&TaskId| match self.schedule {
                    Schedule::Waves => plan.wave_of(id) < own,
                    Schedule::Eager => !after.contains(**id),
                };
                if by.is_empty() || by.iter().any(|id| heard(&id)) {
                    continue;
                }
                let names: Vec<String> = by.iter().map(|id| format!("`{id}`")).collect();
                let why = match self.schedule {
                    Schedule::Waves => "not of an earlier wave",
                    Schedule::Eager => "waiting for it",
                };
                lines.push(format!(
                    "`{}` will hear nothing on `{topic}`: {} publish{} it, {why} (let it need one that \
                     does)",
                    task.id,
                    names.join(", "),
                    if names.len() == 1 { "es" } else { "" }
                ));
            }
        }
        lines
    }

    /// The tasks that need this one, directly or not.
    fn waiting_for(&self, id: &TaskId) -> BTreeSet<TaskId> {
        let mut all = BTreeSet::from([id.clone()]);
        loop {
            let before = all.len();
            let more =
                self.tasks.iter().filter(|task| task.needs.iter().any(|need| all.contains(need)));
            let more: Vec<TaskId> = more.map(|task| task.id.clone()).collect();
            all.extend(more);
            if all.len() == before {
                all.remove(id);
                return all;
            }
        }
    }
}
