//! The spans of a run as OTLP/JSON (one request), named after OpenTelemetry's conventions for agents.
//!
//! Knows no receiver. There is no prompt and no answer in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::event::{AttemptState, RunState, RunStatus, UnitState};
use crate::model::{AttemptEnd, Failure, ProfileKind, Usage, Work};

/// What became of a run since it was taken up (milliseconds since 1970): a span for the run, below it
/// one for each attempt that began and ended since. `caller` is the place in a trace that the run was
/// started in; `resource` says more of whoever sends, the last word on a name counts. None: nothing was attempted.
pub fn spans(
    state: &RunState,
    since: u64,
    caller: Option<&str>,
    resource: &[(String, String)],
) -> Option<Value> {
    let attempts: Vec<(&UnitState, &AttemptState, &AttemptEnd, u64)> = state
        .attempts()
        .filter(|(_, attempt)| attempt.started >= since && !attempt.by_hand)
        .filter_map(|(unit, attempt)| {
            let (at, end) = attempt.ended.as_ref()?;
            Some((unit, attempt, end, *at))
        })
        .collect();
    let trace = attempts.iter().find_map(|(_, attempt, ..)| place(attempt.trace.as_deref()?))?.0;
    let root = hex(&["run", trace, &since.to_string()]);
    let above = caller.and_then(place).filter(|(known, _)| *known == trace).map(|(_, span)| span);
    let mut all = vec![workflow(state, trace, &root, above, since)];
    for (unit, attempt, end, at) in attempts {
        let Some((trace, span)) = attempt.trace.as_deref().and_then(place) else { continue };
        let times = (attempt.started, at);
        all.push(of_attempt(state, unit, (attempt, end), [trace, span, &root], times));
        if let Some(before) = &end.handoff
            && let Some(usage) = &before.usage
        {
            let times = (attempt.started, attempt.started + before.millis);
            let mut about = agent(state, usage);
            about.push(("todone.handoff.for", json!(unit.unit.id.as_str())));
            let name = format!("invoke_agent {}", usage.profile);
            let own = hex(&["handoff", span]);
            all.push(one(&name, [trace, &own, span], times, about, None));
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let own = [("service.name", "todone"), ("service.version", version)];
    let own = own.into_iter().chain(resource.iter().map(|(name, value)| (&**name, &**value)));
    let resource: BTreeMap<&str, &str> = own.collect();
    let resource = attributes(resource.into_iter().map(|(name, value)| (name, json!(value))));
    let scope = json!({ "name": "todone", "version": version });
    Some(json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": all }],
    }] }))
}

/// Trace and span of a place in a trace (`TRACEPARENT`).
fn place(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let whole = trace.len() == 32 && span.len() == 16;
    (whole && hex(trace) && hex(span)).then_some((trace, span))
}

fn hex(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn workflow(state: &RunState, trace: &str, root: &str, above: Option<&str>, since: u64) -> Value {
    let about = vec![
        ("gen_ai.operation.name", json!("invoke_workflow")),
        ("gen_ai.workflow.name", json!(state.board.name)),
        ("todone.run", json!(state.run.as_str())),
    ];
    let bad = match &state.ended {
        Some((RunStatus::Succeeded, _)) => None,
        Some((RunStatus::Failed, _)) => Some("failed"),
        _ => Some("interrupted"),
    };
    let name = format!("invoke_workflow {}", state.board.name);
    let times = (since, state.updated.max(since));
    let bad = bad.map(|why| (why.to_owned(), why.to_owned()));
    one(&name, [trace, root, above.unwrap_or_default()], times, about, bad)
}

fn of_attempt(
    state: &RunState,
    unit: &UnitState,
    (attempt, end): (&AttemptState, &AttemptEnd),
    ids: [&str; 3],
    times: (u64, u64),
) -> Value {
    let task = state.board.task(&unit.unit.task);
    let profile = attempt.agent().or_else(|| match &task?.work {
        Work::Agent { profile, .. } if end.reused.is_none() => Some(profile.as_str()),
        _ => None,
    });
    let mut about = match (&end.usage, profile) {
        (Some(usage), _) => agent(state, usage),
        (None, Some(profile)) => {
            agent(state, &Usage { profile: profile.to_owned(), ..Usage::default() })
        }
        (None, None) => Vec::new(),
    };
    about.extend([
        ("todone.run", json!(state.run.as_str())),
        ("todone.task", json!(unit.unit.id.as_str())),
        ("todone.attempt", json!(attempt.number)),
    ]);
    let worked = end.usage.as_ref().map(|usage| usage.profile.as_str()).or(profile);
    let name = match worked {
        Some(profile) => format!("invoke_agent {profile}"),
        None => format!("run_task {}", unit.unit.id),
    };
    let bad = end.failure.as_ref().map(|failure| (kind(failure), failure.to_string()));
    one(&name, ids, times, about, bad)
}

/// A failure in one word.
fn kind(failure: &Failure) -> String {
    if let Failure::Agent { kind, .. } = failure {
        return kind.word().to_owned();
    }
    let value = serde_json::to_value(failure).unwrap_or_default();
    value.get("why").and_then(Value::as_str).unwrap_or("failed").to_owned()
}

type Attributes = Vec<(&'static str, Value)>;

/// What is said of an agent at work.
fn agent(state: &RunState, usage: &Usage) -> Attributes {
    let profile = state.board.agents.get(&usage.profile);
    let provider = profile.map(|profile| match &profile.kind {
        ProfileKind::Claude => "anthropic",
        ProfileKind::Codex => "openai",
        ProfileKind::Gemini => "gcp.gemini",
        other => other.word(),
    });
    let asked = usage.asked.clone().or_else(|| profile?.model.clone());
    let cached = usage.cache_read.unwrap_or(0) + usage.cache_write.unwrap_or(0);
    let (dollars, source) = match (usage.usd, usage.estimated) {
        (Some(usd), _) => (Some(usd), Some("reported")),
        (None, Some(usd)) => (Some(usd), Some("estimated")),
        (None, None) => (None, None),
    };
    let all = [
        ("gen_ai.operation.name", Some(json!("invoke_agent"))),
        ("gen_ai.provider.name", provider.map(|name| json!(name))),
        ("gen_ai.agent.name", Some(json!(usage.profile))),
        ("gen_ai.conversation.id", usage.session.as_ref().map(|id| json!(id))),
        ("gen_ai.request.model", asked.map(|model| json!(model))),
        ("gen_ai.response.model", usage.model.as_ref().map(|model| json!(model))),
        ("gen_ai.usage.input_tokens", usage.input.map(|count| json!(count + cached))),
        ("gen_ai.usage.output_tokens", usage.output.map(|count| json!(count))),
        ("gen_ai.usage.cache_read.input_tokens", usage.cache_read.map(|count| json!(count))),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write.map(|count| json!(count))),
        ("todone.cost.usd", dollars.map(|usd| json!(usd))),
        ("todone.cost.source", source.map(|word| json!(word))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A span; `ids` are its trace, its own and that of the span above it, if there is one.
fn one(
    name: &str,
    [trace, span, above]: [&str; 3],
    (from, to): (u64, u64),
    mut about: Attributes,
    bad: Option<(String, String)>,
) -> Value {
    let nanos = |millis: u64| format!("{millis}000000");
    let status = match bad {
        None => json!({ "code": 1 }),
        Some((kind, message)) => {
            about.push(("error.type", json!(kind)));
            json!({ "code": 2, "message": message })
        }
    };
    json!({
        "traceId": trace,
        "spanId": span,
        "parentSpanId": above,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": nanos(from),
        "endTimeUnixNano": nanos(to.max(from)),
        "attributes": attributes(about),
        "status": status,
    })
}

fn attributes<'n>(all: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let typed = |value: Value| match value {
        Value::String(text) => json!({ "stringValue": text }),
        // 64 bits stand as text in this form of JSON.
        Value::Number(number) if number.is_u64() => json!({ "intValue": number.to_string() }),
        Value::Number(number) => json!({ "doubleValue": number }),
        other => json!({ "stringValue": other.to_string() }),
    };
    all.into_iter().map(|(key, value)| json!({ "key": key, "value": typed(value) })).collect()
}
