//! The spans of a run, as a receiver on loopback gets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::coding::replay;
use crate::space::Space;

/// A receiver that answers with this status.
struct Receiver {
    address: String,
    listens: JoinHandle<Vec<Request>>,
}

/// What it got.
struct Request {
    head: Vec<String>,
    body: Value,
}

impl Receiver {
    fn new(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let listens = std::thread::spawn(move || {
            let mut all = Vec::new();
            while let Some(request) = Request::take(&listener, status) {
                all.push(request);
            }
            all
        });
        Self { address, listens }
    }

    /// All that it got.
    fn got(self) -> Vec<Request> {
        // A connection without a word is the end.
        drop(TcpStream::connect(&self.address).expect("it listens"));
        self.listens.join().expect("it listened")
    }
}

impl Request {
    fn take(listener: &TcpListener, status: &str) -> Option<Self> {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("the stream"));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().expect("a length"))
        });
        let mut body = vec![0; length?];
        reader.read_exact(&mut body).expect("the body");
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").expect("answered");
        Some(Self { head, body: serde_json::from_slice(&body).expect("json") })
    }

    fn spans(&self) -> Vec<Value> {
        self.body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone()
    }
}

fn named<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
}

fn of<'s>(span: &'s Value, key: &str) -> &'s Value {
    let all = span["attributes"].as_array().expect("attributes");
    all.iter().find(|one| one["key"] == key).map_or(&Value::Null, |one| &one["value"])
}

const BOARD: &str = r#"
name = "traced"
[[task]]
id = "plain"
retry = 2
run = 'echo "$TRACEPARENT" > "$TODONE_BOARD_DIR/plain.$TODONE_ATTEMPT"; test "$TODONE_ATTEMPT" = 2'
[[task]]
id = "t"
agent = "a"
prompt = "A secret of the house."
"#;

#[test]
fn a_receiver_gets_the_run_and_its_attempts_as_spans() {
    let space = Space::new(&[("x", "")]);
    let agent = replay("made", &["claude-success:0"]);
    space.board(&format!("{BOARD}[agent.a]\nkind = \"claude\"\nmodel = \"sonnet\"\n{agent}\n"));
    let receiver = Receiver::new("200 OK");
    let endpoint = format!("http://{}/", receiver.address);
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=us, x-more=a%20b"),
        ("OTEL_SERVICE_NAME", "refactor"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=none,deployment.environment.name=ci"),
        // What takes this takes JSON, too.
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone_env(&["run", board], &env, Some("main")).code(0);
    let got = receiver.got();
    let [request] = got.as_slice() else { panic!("{} requests", got.len()) };
    assert_eq!(request.head[0], "POST /v1/traces HTTP/1.1");
    for line in ["Content-Type: application/json", "x-team: us", "x-more: a b"] {
        assert!(request.head.iter().any(|it| it == line), "{line} in {:?}", request.head);
    }
    let service = &request.body["resourceSpans"][0]["resource"];
    assert_eq!(of(service, "service.name")["stringValue"], "refactor");
    assert_eq!(of(service, "deployment.environment.name")["stringValue"], "ci");
    let spans = request.spans();
    assert_eq!(spans.len(), 4, "{spans:?}");
    assert!(spans.iter().all(|span| span["traceId"] == trace), "{spans:?}");
    let run = named(&spans, "invoke_workflow traced");
    assert_eq!((&run["parentSpanId"], &run["status"]["code"]), (&caller.into(), &1.into()));
    let agent = named(&spans, "invoke_agent a");
    for (key, kind, value) in [
        ("gen_ai.operation.name", "stringValue", Value::from("invoke_agent")),
        ("gen_ai.provider.name", "stringValue", "anthropic".into()),
        ("gen_ai.agent.name", "stringValue", "a".into()),
        ("gen_ai.conversation.id", "stringValue", "fd3e3107-fb62-48d5-af87-235477d0a3d7".into()),
        ("gen_ai.request.model", "stringValue", "sonnet".into()),
        ("gen_ai.response.model", "stringValue", "claude-sonnet-4-5".into()),
        ("gen_ai.usage.input_tokens", "intValue", "41484".into()),
        ("gen_ai.usage.output_tokens", "intValue", "27".into()),
        ("todone.cost.usd", "doubleValue", 0.124_857.into()),
        ("todone.cost.source", "stringValue", "reported".into()),
        ("todone.attempt", "intValue", "1".into()),
    ] {
        assert_eq!(of(agent, key)[kind], value, "{key}");
    }
    let tries: Vec<&Value> = spans.iter().filter(|span| span["name"] == "run_task plain").collect();
    let [first, second] = tries.as_slice() else { panic!("{spans:?}") };
    assert_eq!((&first["status"]["code"], &second["status"]["code"]), (&2.into(), &1.into()));
    assert_eq!(first["status"]["message"], "exit status 1");
    assert_eq!(of(first, "error.type")["stringValue"], "exit");
    for (span, number) in [(first, 1), (second, 2)] {
        assert_eq!(span["parentSpanId"], run["spanId"]);
        let seen = std::fs::read_to_string(space.path(&format!("plain.{number}"))).expect("seen");
        assert_eq!(seen.split('-').nth(2), span["spanId"].as_str());
    }
    assert!(!request.body.to_string().contains("secret of the house"), "a prompt was sent");
}

#[test]
fn a_receiver_that_takes_nothing_is_warned_of_and_changes_nothing() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"t\"\nrun = \"echo > made\"\n");
    let board = space.path("board.toml");
    let run = ["run", "--new", board.to_str().expect("a name")];
    let with = |endpoint: &str, more: (&str, &str)| {
        let env = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint), more];
        space.todone_env(&run, &env, Some("main")).code(0)
    };
    let receiver = Receiver::new("503 Later");
    let endpoint = format!("http://{}/here", receiver.address);
    with(&endpoint, ("A", "b")).says("warning: the spans of this run were not sent to http://127.");
    with(&endpoint, ("OTEL_SDK_DISABLED", "true")).says_not("warning");
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].head[0], "POST /here HTTP/1.1");
    // Nobody listens there any more.
    with(&endpoint, ("A", "b")).says("warning: the spans of this run were not sent to");
    with("https://localhost:1/", ("A", "b")).says("plain http alone");
    // `check` says so before anything is run.
    let check = |endpoint: &str, more: (&str, &str), json: &[&str]| {
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), more];
        let args = [&["check", board.to_str().expect("a name")], json].concat();
        space.todone_env(&args, &env, None).code(0)
    };
    check("https://localhost:1", ("A", "b"), &[]).says(
        "will not be sent to https://localhost:1/v1/traces: todone speaks OTLP over plain http",
    );
    check("http://localhost:1", ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), &[]).says("is grpc");
    check("http://localhost:1", ("A", "b"), &[]).says_not("spans");
    let page = check("https://localhost:1", ("A", "b"), &["--json"]).json();
    assert!(page["telemetry"].as_str().is_some_and(|why| why.contains("plain http")), "{page:#}");
}

/// A real receiver, which prints what it got. Ended when dropped.
struct Rotel {
    child: Child,
    http: u16,
    out: PathBuf,
}

impl Rotel {
    /// None: it is not installed.
    fn start(space: &Space) -> Option<Self> {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("its address").port()
        };
        let (http, grpc, out) = (free(), free(), space.path("rotel.out"));
        let file = |name: &str| space.path(name).display().to_string();
        let child = Command::new("rotel-agent")
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--pid-file", &file("rotel.pid"), "--log-file", &file("rotel.log")])
            .stdout(std::fs::File::create(&out).expect("made"))
            .spawn();
        let rotel = Self { child: child.ok()?, http, out };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", http)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(rotel)
    }

    /// What it printed, as soon as so much is in it.
    fn told(&self, whole: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let told = std::fs::read_to_string(&self.out).expect("read");
            if whole(&told) {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "there is less in it: {told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_collector_that_others_wrote_understands_all_of_it() {
    let space = Space::new(&[("x", "")]);
    let Some(rotel) = Rotel::start(&space) else {
        println!("skipped: rotel is not installed (`just otlp` installs it and runs this)");
        return;
    };
    let agent = replay("made", &["claude-success:0"]);
    space.board(&format!("{BOARD}[agent.a]\nkind = \"claude\"\nmodel = \"sonnet\"\n{agent}\n"));
    let endpoint = format!("http://127.0.0.1:{}", rotel.http);
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone_env(&["run", board], &env, Some("main")).code(0).says_not("were not sent");
    let told = rotel.told(|text| {
        let count = |word: &str| text.matches(word).count();
        (count("todone.run: Str("), count("todone.attempt: Int("), count("error.type: Str("))
            == (4, 3, 1)
    });
    let spans: Vec<&str> = told.split("Span #").skip(1).collect();
    assert!(spans.iter().all(|span| span.contains(": 0af7651916cd43dd8448eb211c80319c")), "{told}");
    let named = |name: &str| {
        let name = format!("Name           : {name}\n");
        *spans.iter().find(|span| span.contains(&name)).unwrap_or_else(|| panic!("{name}: {told}"))
    };
    let run = named("invoke_workflow traced");
    assert!(
        run.contains("Parent ID      : b7ad6b7169203331") && run.contains("STATUS_CODE_OK"),
        "{run}"
    );
    let own =
        run.lines().find_map(|line| line.trim().strip_prefix("ID             : ")).expect("an id");
    let agent = named("invoke_agent a");
    for wanted in [
        format!("Parent ID      : {own}"),
        "gen_ai.usage.input_tokens: Int(41484)".to_owned(),
        "gen_ai.response.model: Str(claude-sonnet-4-5)".to_owned(),
        "todone.cost.usd: Double(0.124857)".to_owned(),
    ] {
        assert!(agent.contains(&wanted), "{wanted} in {agent}");
    }
    let failed = named("run_task plain");
    assert!(
        failed.contains("STATUS_CODE_ERROR") && failed.contains("error.type: Str(exit)"),
        "{failed}"
    );
}
