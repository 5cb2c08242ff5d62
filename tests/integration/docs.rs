//! The documents: every link leads somewhere, every command and option that they name exists, every example is a valid submission, every
//! dependency is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document, line by line, with what is code and what is text.
struct Document {
    path: PathBuf,
    lines: Vec<Line>,
}

struct Line {
    /// Line of the file, from 1.
    number: usize,
    text: String,
    fenced: bool,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut fence: Option<usize> = None;
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let ticks = line.trim_start().chars().take_while(|&character| character == '`').count();
            match fence {
                None if ticks >= 3 => fence = Some(ticks),
                Some(open) if ticks >= open && line.trim().len() == ticks => fence = None,
                _ => lines.push(Line { number: index + 1, text: line.to_owned(), fenced: fence.is_some() }),
            }
        }
        assert!(fence.is_none(), "{}: a code block is not closed", path.display());
        Self { path, lines }
    }

    fn place(&self, line: &Line) -> String {
        format!("{}:{}", self.path.strip_prefix(root()).unwrap_or(&self.path).display(), line.number)
    }

    /// The names by which links reach the document's headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.lines.iter().filter(|line| !line.fenced && line.text.starts_with('#'));
        headings
            .map(|line| {
                let title = line.text.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|&character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
                kept.map(|character| if character == ' ' { '-' } else { character }).collect()
            })
            .collect()
    }

    /// Pieces of code, each with its line: lines of code blocks, and what stands between backticks.
    fn code(&self) -> Vec<(&Line, &str)> {
        let mut pieces = Vec::new();
        for line in &self.lines {
            if line.fenced {
                pieces.push((line, line.text.as_str()));
            } else {
                pieces.extend(line.text.split('`').skip(1).step_by(2).map(|span| (line, span)));
            }
        }
        pieces
    }
}

/// What `validate` says of a submission, without the hub; `None` where it accepts it.
fn refusal(input: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slm-bench"))
        .args(["validate", "-", "--no-hub"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_example_is_a_valid_submission() {
    let mut checked = 0;
    for document in documents() {
        let fenced: Vec<&Line> = document.lines.iter().filter(|line| line.fenced).collect();
        for block in fenced.chunk_by(|one, next| one.number + 1 == next.number) {
            if !block.iter().any(|line| line.text == "model:") {
                continue;
            }
            let text = block.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n") + "\n";
            // A block in a block is the text of an issue as it stands.
            let issue = if text.contains("```") { text } else { format!("```yaml\n{text}```\n") };
            assert_eq!(refusal(&issue, &["--issue"]), None, "{}", document.place(block[0]));
            checked += 1;
        }
    }
    for file in std::fs::read_dir(root().join("models/submissions")).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(refusal(&std::fs::read_to_string(&path).unwrap(), &[]), None, "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} examples were found");
    assert!(refusal("model: {}\n", &[]).is_some());
}

fn documents() -> Vec<Document> {
    let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in ["docs", ".github"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        paths.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

/// The targets of a line's links, `](…)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut checked = 0;
    let mut broken = Vec::new();
    for document in documents() {
        for line in document.lines.iter().filter(|line| !line.fenced) {
            for target in targets(&line.text).filter(|target| !target.contains("://")) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if file.is_empty() { document.path.clone() } else { document.path.with_file_name(file) };
                let reached = path.exists() && (anchor.is_empty() || Document::read(path).anchors().contains(anchor));
                if !reached {
                    broken.push(format!("{}: {target}", document.place(line)));
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} links were found");
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// Help texts of the program, asked for once each.
#[derive(Default)]
struct Manual(BTreeMap<Vec<String>, String>);

impl Manual {
    fn help(&mut self, command: &[String]) -> &str {
        self.0.entry(command.to_vec()).or_insert_with(|| {
            let output = Command::new(env!("CARGO_BIN_EXE_slm-bench")).args(command).arg("--help").output().unwrap();
            assert!(output.status.success(), "slm-bench {} --help fails", command.join(" "));
            String::from_utf8(output.stdout).unwrap()
        })
    }

    fn commands(&mut self, command: &[String]) -> BTreeSet<String> {
        let list = self.help(command).lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = list.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    fn has_option(&mut self, command: &[String], option: &str) -> bool {
        let word = |text: &str| !text.starts_with(|character: char| character.is_ascii_alphanumeric() || character == '-');
        self.help(command).split(option).skip(1).any(word)
    }

    /// What is wrong with a command line, given the words after `slm-bench`.
    fn problem(&mut self, line: &str) -> Option<String> {
        let line = line.split(['#', '|', '&', ';', '<', '>', '(', ')']).next().unwrap_or_default();
        let mut command: Vec<String> = Vec::new();
        let mut known = self.commands(&command);
        for word in line.split_whitespace().map(|word| word.trim_end_matches([',', '.', ':'])) {
            if let Some(option) = word.strip_prefix("--").map(|name| name.split('=').next().unwrap_or(name)) {
                if !option.is_empty() && !self.has_option(&command, &format!("--{option}")) {
                    return Some(format!("`slm-bench {}` has no option --{option}", command.join(" ")));
                }
            } else if !known.is_empty() && !word.starts_with('-') {
                // A word in capitals stands for any command.
                if word.chars().all(|character| character.is_ascii_uppercase() || character == '…') {
                    return None;
                }
                if !known.contains(word) {
                    return Some(format!("`slm-bench {}` has no command {word}", command.join(" ")));
                }
                command.push(word.to_owned());
                known = self.commands(&command);
            }
        }
        None
    }
}

#[test]
fn every_command_and_option_in_the_documents_exists() {
    let mut manual = Manual::default();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        for (line, code) in document.code() {
            // `/slm-bench retry` is a comment on an issue, and `/usr/local/bin/slm-bench` or `--group=slm-bench` no call.
            let is_call = |(place, _): &(usize, &str)| {
                !code[..*place].ends_with(|character: char| character.is_alphanumeric() || "/=-_.".contains(character))
            };
            let direct = code.match_indices("slm-bench ").filter(is_call).map(|(place, name)| &code[place + name.len()..]);
            let by_cargo = code.split_once("cargo run ").and_then(|(_, rest)| rest.split_once(" -- ")).map(|(_, rest)| rest);
            for words in direct.chain(by_cargo) {
                wrong.extend(manual.problem(words).map(|problem| format!("{}: {problem}", document.place(line))));
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} command lines were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The check itself notices what is wrong.
    for wrong in ["evaluate model.yml", "registry upgrade", "run --no-such-option 3", "verify --regist models/registry.json"] {
        assert!(manual.problem(wrong).is_some(), "{wrong}");
    }
}

/// The README's table explains each direct dependency, and no other.
#[test]
fn every_dependency_is_explained() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut in_dependencies = false;
    let mut wanted = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| in_dependencies && !line.starts_with('#')) {
            wanted.insert(name.to_owned());
        }
    }
    let readme = Document::read(root().join("README.md"));
    let table =
        readme.lines.iter().skip_while(|line| line.text != "## Dependencies").skip(1).take_while(|line| !line.text.starts_with("##"));
    let rows = table.filter_map(|line| line.text.strip_prefix("| ")?.split_once(" |").map(|(names, _)| names.to_owned()));
    let explained: BTreeSet<String> = rows
        .filter(|names| names != "crate" && names != "---")
        .flat_map(|names| names.split(", ").map(|name| name.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>())
        // The crate's own name is another than the one that the code uses.
        .map(|name| if name == "serde_norway" { "serde_yaml".to_owned() } else { name })
        .collect();
    assert!(wanted.len() > 10, "only {} dependencies were found", wanted.len());
    assert_eq!(explained, wanted);
}
