# Short names for what is done often; `just` lists them.

default:
    @just --list

# Everything that must hold before a change goes in
ci:
    .ci/run

# Format and lint
tidy:
    cargo fmt
    cargo clippy --all-targets --locked -- -D warnings

# All tests, or those whose name holds a word
test *words:
    cargo test --locked {{words}}

# Every reader of foreign text, led by libFuzzer for so many seconds each
fuzz seconds="60" *words:
    .ci/fuzz {{seconds}} {{words}}

# Library, program and tests checked for macOS, from any Linux (minutes the first time)
macos:
    .ci/macos

# All tests, git done by the git program alone
test-plumbing:
    TODONE_PLUMBING=1 cargo test --locked

# Merging with the real Mergiraf, installed below target/ (minutes the first time)
mergiraf:
    .ci/mergiraf
    PATH="$PWD/target/mergiraf/bin:$PATH" cargo test --locked --test e2e mergiraf

# The real coding agents against a scripted model on loopback; `just e2e-agents --install` gets them
e2e-agents *words:
    cargo build --locked
    .ci/agents {{words}}

# The spans of a run, read back out of a real OTLP receiver (rotel, a wheel of 30 MB) below target/
otlp:
    python3 -m venv target/otlp
    target/otlp/bin/pip install --quiet rotel==0.0.1a15
    ln -sf "$(ls -d "$PWD"/target/otlp/lib/python3*/site-packages/rotel)/rotel-agent" target/otlp/bin/
    PATH="$PWD/target/otlp/bin:$PATH" cargo test --locked --test e2e a_collector_that_others_wrote

# How fast it is, as ratios to other ways in the same run (minutes)
bench:
    cargo bench --locked --bench merge
    cargo bench --locked --bench run

# The tour
example:
    cargo run --locked -- run todone.example.toml

# The design book
book:
    cargo doc --no-deps --locked --open
