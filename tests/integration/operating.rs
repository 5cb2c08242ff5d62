//! What operators get: the example of the configuration is whole and true, and the manual knows every error.

use slm_benchmark::bot::config::{Config, KEYS};
use std::collections::BTreeSet;
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Comments that show a key: `# key = …` and `# [section]`; those that stand for the alternative of a line that counts are left out.
fn uncommented(text: &str, skip: &[&str]) -> String {
    let shows = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.starts_with('[') || (line.contains(" = ") && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let mut skipping = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let shown = line.strip_prefix("# ").filter(|line| shows(line)).unwrap_or(line);
        if shown.starts_with('[') {
            skipping = skip.contains(&shown);
        }
        if !skipping {
            lines.push(shown);
        }
    }
    lines.join("\n")
}

/// The example is a configuration as it stands, and says the defaults where it says so.
#[test]
fn the_example_is_a_configuration() {
    let text = read("slm-bench.example.toml");
    let config = Config::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.repository.name.to_string(), "octo-org/leaderboard");
    // With every key that is shown as a default, nothing is different.
    let mut examples = false;
    let mut with_defaults = Vec::new();
    for line in text.lines() {
        examples = if line.starts_with("# ") && line.contains("An example.") { true } else { examples && line.starts_with('#') };
        let is_default =
            !examples && line.strip_prefix("# ").is_some_and(|line| uncommented(&format!("# {line}"), &[]) == line && line.contains(" = "));
        let is_section = line == "# [executor.actions]";
        with_defaults.push(if is_default || is_section { &line[2..] } else { line });
    }
    let with_defaults = with_defaults.join("\n");
    assert!(with_defaults.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() > 20);
    assert_eq!(Config::parse(&with_defaults).unwrap_or_else(|error| panic!("{error}\n{with_defaults}")), config);
}

/// Every key of the configuration stands in the example, each in its section, and no other.
#[test]
fn the_example_names_every_key() {
    let text = read("slm-bench.example.toml");
    let mut named = BTreeSet::new();
    for skip in ["[github.app]", "[github]"] {
        let table: toml::Table = uncommented(&text, &[skip]).parse().unwrap_or_else(|error| panic!("{error}"));
        keys_of(&table, "", &mut named);
    }
    let all: BTreeSet<String> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(named, all);
}

fn keys_of(table: &toml::Table, prefix: &str, keys: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            toml::Value::Table(inner) if !inner.contains_key("env") && !inner.contains_key("file") => {
                keys_of(inner, &format!("{key}."), keys);
            }
            _ => {
                keys.insert(key);
            }
        }
    }
}

/// Every kind of error that the bot's rooms print has its line in the manual: a piece of it stands there.
#[test]
fn every_kind_of_error_is_explained() {
    let manual = read("docs/troubleshooting.md").replace(['`', '…'], "").to_lowercase();
    let words = |text: &str| {
        text.split(|character: char| !character.is_alphanumeric()).filter(|word| word.len() > 1).map(str::to_lowercase).collect::<Vec<_>>()
    };
    let mut missing = Vec::new();
    let mut checked = 0;
    for file in ["src/bot/store/error.rs", "src/github/webhook.rs", "src/hub/error.rs", "src/publish/error.rs"] {
        // Messages that are put together from variables have no words of their own.
        for message in
            messages(&read(file)).into_iter().filter(|message| message.split(['{', '}']).step_by(2).any(|piece| words(piece).len() > 1))
        {
            // Some piece between variables stands in one line, as words: punctuation and remedies may differ.
            let found = message.split(['{', '}', ':', ';', '(']).map(words).filter(|piece| piece.len() > 1).any(|piece| {
                manual.lines().any(|line| {
                    let line: BTreeSet<String> = words(line).into_iter().collect();
                    piece.iter().all(|word| line.contains(word))
                })
            });
            checked += 1;
            if !found {
                missing.push(format!("{file}: {message}"));
            }
        }
    }
    assert!(checked > 30, "only {checked} messages were found");
    assert!(missing.is_empty(), "docs/troubleshooting.md has no line for\n{}", missing.join("\n"));
}

/// The messages of `#[error("…")]` attributes.
fn messages(source: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for rest in source.split("#[error(").skip(1) {
        let Some(text) = rest.trim_start().strip_prefix('"') else { continue };
        messages.push(text.split('"').next().unwrap_or_default().to_owned());
    }
    messages
}
