//! One program after another, and what each is asked: todone's end of the line.
//!
//! Knows which program is at work and what becomes of it; what is said to it is known elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    ReadTextFileRequest, ReadTextFileResponse, RequestPermissionRequest, SessionNotification,
    SessionUpdate, WriteTextFileRequest, WriteTextFileResponse,
};
use agent_client_protocol::{Agent, Client, Error, Lines};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::agent::{self, Order};

use super::answer::{missing, permission, refused, said, value};
use super::desk::{Desk, Stage};
use super::program::{Program, printed, written};
use super::quiet::Quiet;
use super::session::{End, Stops, greet, turn};
use super::{error, files, left, over, tell};

/// How long is waited for the agent's end to explain why the line is dead.
const DYING: Duration = Duration::from_secs(1);
/// What is told of a session that is over.
const OVER: &str = "this session is over";

/// The orders after the first; none: the program does not stay.
type More = Option<UnboundedReceiver<Order>>;

/// What came of a program.
enum Served {
    /// It is all over: whether it answered.
    All(bool),
    /// It was gone, or opened no session, before it was asked this.
    Unasked(Box<Order>),
    /// It ended while it waited.
    Gone,
}

/// Starts the agent, asks it, brings it to its end. Whether it answered.
pub(super) async fn converse(mut order: Order, mut more: More) -> bool {
    let (mut stops, here) = match (Stops::new(), std::env::current_dir()) {
        (Ok(stops), Ok(dir)) => (stops, dir),
        (Err(fault), _) | (_, Err(fault)) => {
            error(&format!("todone speak: {fault}"));
            return false;
        }
    };
    if more.is_some() {
        left::adopt();
    }
    loop {
        order = match serve(order, &here, &mut more, &mut stops).await {
            Served::All(well) => return well,
            Served::Unasked(order) => *order,
            Served::Gone => match next(&mut more, &mut stops).await {
                Ok(Some(order)) => order,
                Ok(None) => return true,
                Err(Stopped) => return false,
            },
        };
    }
}

struct Stopped;

/// The next order, when it comes; none: there are no more.
async fn next(more: &mut More, stops: &mut Stops) -> Result<Option<Order>, Stopped> {
    let Some(more) = more else { return Ok(None) };
    tokio::select! {
        order = more.recv() => Ok(order),
        () = stops.come() => Err(Stopped),
    }
}

/// A program from its start to its end.
async fn serve(order: Order, here: &PathBuf, more: &mut More, stops: &mut Stops) -> Served {
    let quiet = Quiet::of(&order.argv);
    let asks = agent::asking(&order.argv, order.limits.permissions, |name| std::env::var_os(name));
    let env: Vec<_> = quiet.env().iter().cloned().chain(asks).collect();
    let (mut program, stdin, stdout) = match Program::start(&order.argv, &env) {
        Ok(started) => started,
        Err(fault) => {
            let name = order.argv.first().map_or("", String::as_str);
            tell("not_started", format!("{name}: {fault}"));
            return Served::All(false);
        }
    };
    let stays = more.is_some();
    let desk = Arc::new(Desk::default());
    let (hears, asks, writes, reads) = (desk.clone(), desk.clone(), desk.clone(), desk.clone());
    let talk = Client
        .v1()
        .name("todone")
        .on_receive_notification(
            async move |news: SessionNotification, _| {
                if hears.hears(&news.session_id.to_string()) {
                    if let SessionUpdate::ToolCall(call) = &news.update {
                        hears.calls(&call.tool_call_id.to_string(), &call.title);
                    }
                    tell("update", value(&news.update));
                }
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .on_receive_request(
            async move |asked: RequestPermissionRequest, responder, _| match asks
                .of(&asked.session_id.to_string())
            {
                Some(now) => {
                    let called = asks.called(&asked.tool_call.tool_call_id.to_string());
                    responder.respond(permission(&now.limits, &now.dir, &asked, called))
                }
                None => responder.respond_with_error(refused(OVER)),
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: WriteTextFileRequest, responder, _| {
                let Some(now) = writes.of(&asked.session_id.to_string()) else {
                    return responder.respond_with_error(refused(OVER));
                };
                match files::write(&now.limits, &now.dir, &asked.path, &asked.content) {
                    Ok(()) => responder.respond(WriteTextFileResponse::new()),
                    Err(why) => {
                        tell("refused", format!("to write {}: {why}", asked.path.display()));
                        responder.respond_with_error(refused(&why))
                    }
                }
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: ReadTextFileRequest, responder, _| {
                let Some(now) = reads.of(&asked.session_id.to_string()) else {
                    return responder.respond_with_error(refused(OVER));
                };
                match files::read(&now.limits, &now.dir, &asked.path, asked.line, asked.limit) {
                    Ok(Some(text)) => responder.respond(ReadTextFileResponse::new(text)),
                    Ok(None) if reads.empty.load(Ordering::SeqCst) => {
                        responder.respond(ReadTextFileResponse::new(""))
                    }
                    Ok(None) => responder.respond_with_error(missing(&asked.path)),
                    Err(why) => responder.respond_with_error(refused(&why)),
                }
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_with(Lines::new(written(stdin), printed(stdout)), async |cx| {
            turns(&cx, order, here, &desk, more, stops).await
        });
    let ended = tokio::select! {
        ended = talk => Some(ended),
        // It may have answered with its last breath: what is on the line is read first.
        () = died(&mut program, stays) => None,
    };
    let served = match (&ended, desk.stage()) {
        (Some(Ok(End::Unasked)) | Some(Err(_)) | None, Stage::Opening(order)) => {
            Served::Unasked(order)
        }
        (Some(Err(_)) | None, Stage::Idle) => Served::Gone,
        (Some(Ok(End::Answered)), _) => Served::All(true),
        (Some(Ok(_)), _) => Served::All(false),
        (Some(Err(fault)), _) => {
            match timeout(DYING, program.ended()).await {
                Ok(Some(status)) => error(&format!("the agent ended before it answered: {status}")),
                _ => error(&format!("the agent can't be understood: {}", said(fault))),
            }
            Served::All(false)
        }
        (None, _) => {
            let status = program.ended().await.map(|status| status.to_string()).unwrap_or_default();
            error(&format!("the agent ended before it answered: {status}"));
            Served::All(false)
        }
    };
    program.end(matches!(desk.stage(), Stage::Idle)).await;
    if stays && !matches!(served, Served::All(_)) && !left::clear(&left::Known::new()).await {
        // The supervisor has more patience, and its locks say that something is left.
        error("what the agent left behind can't be ended");
        return Served::All(false);
    }
    served
}

/// Greets the program, and gives it this order and those that come after it.
async fn turns(
    cx: &ConnectionTo<Agent>,
    mut order: Order,
    here: &PathBuf,
    desk: &Desk,
    more: &mut More,
    stops: &mut Stops,
) -> Result<End, Error> {
    let dir = |order: &Order| {
        let own = order.stay.as_ref().map_or(here, |stay| &stay.dir);
        own.canonicalize().unwrap_or_else(|_| own.clone())
    };
    desk.begin(&order, dir(&order));
    let hello = tokio::select! {
        hello = greet(cx, desk) => match hello? {
            Some(hello) => hello,
            None => return Ok(End::Failed),
        },
        () = stops.come() => return Ok(End::Cancelled),
    };
    // Helpers that it has for all its sessions.
    let own = left::known();
    loop {
        let end = turn(cx, &order, &dir(&order), &hello, desk, stops).await?;
        let (End::Answered, Some(stay), true) = (&end, &order.stay, more.is_some()) else {
            return Ok(end);
        };
        desk.end();
        if !left::clear(&own).await {
            return Ok(end);
        }
        desk.goes(Stage::Idle);
        over(&stay.mark);
        order = match next(more, stops).await {
            Ok(Some(order)) => order,
            Ok(None) => return Ok(End::Answered),
            Err(Stopped) => return Ok(End::Cancelled),
        };
        desk.goes(Stage::Opening(Box::new(order.clone())));
        desk.begin(&order, dir(&order));
    }
}

/// Waits until the agent is gone, and a moment longer.
async fn died(program: &mut Program, adopts: bool) {
    let id = program.id();
    tokio::select! {
        _ = program.ended() => {}
        () = left::reap(id), if adopts => {}
    }
    tokio::time::sleep(DYING).await;
}
