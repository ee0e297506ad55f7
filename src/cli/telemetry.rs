//! Sends the spans of a run to an OTLP receiver, where the environment names one.
//!
//! Knows plain HTTP and JSON alone. What can't be sent is said, and changes nothing else.

use std::io::Write as _;

use crate::event::RunState;
use crate::report;

/// The longest that a receiver is waited for, in seconds: a run that is stopped has no more to spare.
const MOST_SECONDS: u64 = 3;

/// Sends what became of a run since it was taken up.
pub(super) fn send(state: &RunState, since: u64) {
    let Some(address) = address() else { return };
    let caller = std::env::var("TRACEPARENT").ok();
    let Some(page) = report::spans(state, since, caller.as_deref(), &resource()) else { return };
    if let Err(why) = post(&address, page.to_string()) {
        let mut err = anstream::stderr();
        // Nobody reads it: then nobody need know.
        let _ = writeln!(err, "warning: the spans of this run were not sent to {address}: {why}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Where spans go; none: nowhere.
fn address() -> Option<String> {
    let off = |name, word: &str| variable(name).is_some_and(|it| it.eq_ignore_ascii_case(word));
    if off("OTEL_SDK_DISABLED", "true") || off("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
        let all = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}/v1/traces", all.trim_end_matches('/')))
    })
}

/// Why spans can't go where the environment wants them, in words; none: they can, or go nowhere.
pub(super) fn unfit() -> Option<String> {
    let address = address()?;
    let why = unfit_at(&address).err()?;
    Some(format!("the spans of its runs will not be sent to {address}: {why}"))
}

fn unfit_at(address: &str) -> Result<(), String> {
    if !address.starts_with("http://") {
        return Err("todone speaks OTLP over plain http alone: name a collector near by, such as \
                    http://localhost:4318, which may pass them on"
            .to_owned());
    }
    let protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if protocol.as_deref() == Some("grpc") {
        return Err("todone speaks http/json, and OTEL_EXPORTER_OTLP_PROTOCOL is grpc".to_owned());
    }
    Ok(())
}

/// Names and values of `a=b,c=d%20e`, as such variables have them; what is no pair is passed over.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name.trim()), decoded(value.trim()))).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter_map(pair).collect()
}

/// Those of them that can be fields of a request: what would end one, or is no name of one, is left out.
fn fields(text: &str) -> Vec<(String, String)> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let all = pairs(text).into_iter().filter(|(name, _)| name.chars().all(token));
    all.map(|(name, value)| (name, value.chars().filter(|c| !c.is_control()).collect())).collect()
}

/// A text without its `%20`s; what only looks like one stays.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (bytes, mut at) = (text.as_bytes(), 0);
    let mut out = Vec::with_capacity(bytes.len());
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What the environment says of whoever sends, beside todone's own word for itself.
fn resource() -> Vec<(String, String)> {
    let mut all = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    all.extend(variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    all
}

fn post(address: &str, body: String) -> Result<(), String> {
    unfit_at(address)?;
    let headers = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
    let mut request = minreq::post(address)
        .with_timeout(MOST_SECONDS)
        .with_header("Content-Type", "application/json")
        .with_header("User-Agent", concat!("todone/", env!("CARGO_PKG_VERSION")))
        .with_body(body);
    for (name, value) in fields(headers.as_deref().unwrap_or_default()) {
        request = request.with_header(name, value);
    }
    let answer = request.send().map_err(|fault| fault.to_string())?;
    match answer.status_code {
        200..300 => Ok(()),
        code => Err(format!("it answered {code} {}", answer.reason_phrase)),
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A pair is read as it was written, and none becomes two lines of a request.
    #[test]
    fn telemetry() {
        let whole = "Authorization=Basic%20YQ==,x=%0d%0aHost:%20y,a b=c,%C3%A9=1,=,%";
        target("telemetry", vec![whole.into()], |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for (name, value) in fields(&text) {
                assert!(
                    !name.is_empty() && !name.contains(|c: char| !c.is_ascii_graphic() || c == ':')
                );
                assert!(!value.contains(char::is_control), "{value:?}");
            }
            let all = pairs(&text);
            assert!(all.len() <= text.split(',').count());
            let coded = |text: &str| -> String {
                text.bytes().map(|byte| format!("%{byte:02x}")).collect()
            };
            let again: Vec<String> = all
                .iter()
                .map(|(name, value)| format!("{}={}", coded(name), coded(value)))
                .collect();
            assert_eq!(pairs(&again.join(",")), all);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_what_is_none_is_passed_over() {
        let of = |text: &str| {
            pairs(text).into_iter().map(|(a, b)| format!("{a}:{b}")).collect::<Vec<_>>()
        };
        assert_eq!(
            of("Authorization=Basic%20YQ==, x=100%,y=%C3%A9"),
            ["Authorization:Basic YQ==", "x:100%", "y:é"]
        );
        assert_eq!(of("odd,=x, ,a=%2,b=%zz,c="), ["a:%2", "b:%zz", "c:"]);
    }
}
