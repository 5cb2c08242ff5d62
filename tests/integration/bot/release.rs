//! Large sample files as release assets (`publication.large_artifacts = "release"`): uploaded once and whole, named by the run, out of the
//! repository; what the website reads in the browser stays in it. The evaluation is a script that hands over a prepared run.

use super::stand_in::AUTHOR;
use super::{Bench, MODEL, submission};
use crate::synthetic::Recipe;
use crate::synthetic_samples::write_run;
use sha2::{Digest, Sha256};
use slm_benchmark::benchmark::suites::Suite;
use slm_benchmark::bot::store::JobState;
use slm_benchmark::leaderboard::run::Run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The token of the hub that the operator set.
const HUB_TOKEN: &str = "hf_0123456789abcdefghijklmnopqrstuv";

/// Whether a text stands in a file below a folder.
fn finds(path: &Path, text: &str) -> bool {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().any(|entry| finds(&entry.unwrap().path(), text));
    }
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// A run that is ready to be handed over.
struct Prepared {
    run: Run,
    folder: PathBuf,
}

impl Prepared {
    /// Its largest sample file, which alone is above the bound.
    fn large(&self) -> (String, u64) {
        let size = |file: &str| fs::metadata(self.folder.join(file)).unwrap().len();
        self.run.samples.iter().map(|sample| (sample.file.clone(), size(&sample.file))).max_by_key(|(_, size)| *size).unwrap()
    }

    fn asset(&self) -> String {
        format!("{}-{}", self.run.run_id, self.large().0.trim_start_matches("samples/"))
    }

    fn tag(&self) -> String {
        format!("run-{}", self.run.run_id)
    }
}

/// Configures the bot to publish large files as assets and to evaluate by a script.
fn prepare(bench: &Bench) -> Prepared {
    let suite = Suite::named("standard").unwrap();
    let recipe = Recipe {
        name: "demo-1m".to_owned(),
        revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        quantization: "BF16",
        suite_version: suite.version,
        measured: 1_260_000,
        ..Recipe::new(MODEL, 0.5)
    };
    let path = write_run(&bench.path("prepared"), &recipe);
    let run: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let prepared = Prepared { folder: path.parent().unwrap().to_owned(), run };
    let script = format!(
        "#!/bin/sh\nset -e\nenv > {environment}\nwhile [ $# -gt 0 ]; do case $1 in --output-dir) out=$2 ;; esac; shift; done\ncp -R {}/. \"$out\"\n\
         echo '{{\"slm_bench\":\"run\",\"folder\":\"'\"$out\"'/slm-benchmark--demo-1m/{id}\",\"run_id\":\"{id}\"}}' >&2\n",
        bench.path("prepared").display(),
        environment = bench.path("environment").display(),
        id = prepared.run.run_id
    );
    fs::write(bench.path("evaluate"), script).unwrap();
    fs::set_permissions(bench.path("evaluate"), fs::Permissions::from_mode(0o755)).unwrap();
    let config = fs::read_to_string(bench.path("slm-bench.toml")).unwrap();
    let config =
        config.replace("suite = \"smoke\"", "suite = \"standard\"").replace("[executor]\n", "[executor]\nprogram = \"evaluate\"\n");
    let publication = format!("[publication]\nlarge_artifacts = \"release\"\nlarge_bytes = {}\n", prepared.large().1 - 1);
    fs::write(bench.path("slm-bench.toml"), format!("{config}{publication}")).unwrap();
    prepared
}

/// The tree of the branch's tip as files.
fn check_out(bench: &Bench) -> PathBuf {
    let folder = bench.path("checkout");
    git2::Repository::clone(&format!("file://{}", bench.path("remote.git").display()), &folder).unwrap();
    folder
}

fn verify(checkout: &Path) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_slm-bench")).arg("verify").current_dir(checkout).output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

/// The asset is there, the repository names its digest and holds everything else, the comment links it, and `verify` says what it could not check
/// and where that is; with the asset put back everything is verified.
#[test]
fn a_large_file_becomes_an_asset() {
    let mut bench = Bench::prepare("evaluate = \"at-once\"");
    let prepared = prepare(&bench);
    bench.run_by(&["env", &format!("HF_TOKEN={HUB_TOKEN}"), "GITHUB_TOKEN=ghp_not_for_evaluations"], None);
    let issue = bench.open(&submission());
    bench.wait_for(issue, JobState::Reported);
    // The evaluation downloads, so it gets the hub's token, which stands nowhere else; of GitHub's it gets none.
    let environment = fs::read_to_string(bench.path("environment")).unwrap();
    assert!(environment.contains(&format!("HF_TOKEN={HUB_TOKEN}\n")) && !environment.contains("ghp_"), "{environment}");
    fs::remove_file(bench.path("environment")).unwrap();
    assert!(!bench.log().contains(HUB_TOKEN) && !bench.github.said(issue).concat().contains(HUB_TOKEN));
    assert!(!finds(&bench.path(""), HUB_TOKEN), "the hub's token is in a file");
    let (file, _) = prepared.large();
    let whole = fs::read(prepared.folder.join(&file)).unwrap();
    let assets = bench.github.assets(&prepared.tag());
    assert_eq!(assets.keys().collect::<Vec<_>>(), [&prepared.asset()]);
    assert!(assets[&prepared.asset()] == whole);
    let said = bench.read();
    assert!(said.contains(&format!("/releases/tag/{}", prepared.tag())), "{said}");

    let commits = bench.commits();
    assert_eq!(commits.len(), 1);
    let paths = &commits[0].1;
    let folder = format!("results/raw/slm-benchmark--demo-1m/{}", prepared.run.run_id);
    assert!(!paths.contains(&format!("{folder}/{file}")), "{file} is in the repository");
    for sample in prepared.run.samples.iter().filter(|sample| sample.file != file) {
        assert!(paths.contains(&format!("{folder}/{}", sample.file)), "{} is missing", sample.file);
    }
    // What the pages read in the browser.
    for path in [format!("{folder}/run.json"), "models/registry.json".to_owned(), "website/assets/data/leaderboard.json".to_owned()] {
        assert!(paths.contains(&path), "{path} is missing");
    }

    let checkout = check_out(&bench);
    let committed: Run = serde_json::from_slice(&fs::read(checkout.join(&folder).join("run.json")).unwrap()).unwrap();
    let named = committed.samples.iter().find(|sample| sample.file == file).unwrap();
    assert_eq!(named.sha256, hex::encode(Sha256::digest(&whole)));
    let (code, text) = verify(&checkout);
    assert_eq!(code, Some(1), "{text}");
    let remedy = format!("gh release download {} --pattern {}", prepared.tag(), prepared.asset());
    assert!(text.contains(&file) && text.contains(&remedy) && text.contains("1 difference in"), "{text}");
    fs::write(checkout.join(&folder).join(&file), &assets[&prepared.asset()]).unwrap();
    let (code, text) = verify(&checkout);
    assert_eq!(code, Some(0), "{text}");
    bench.finish();
}

/// Killed anywhere between the end of the evaluation and the end of the publication, also between upload and commit: one whole asset, one commit.
#[test]
fn assets_survive_any_crash() {
    use super::crashes::{Point, When, driven, state_shown, survive_all};
    let points = [
        Point::Record("before evaluated"),
        Point::Record("after evaluated"),
        Point::Call("POST", "/releases", When::Before),
        Point::Call("POST", "/releases", When::After),
        Point::Call("POST", "/assets", When::Before),
        // The file is there, the commit is not.
        Point::Call("POST", "/assets", When::After),
        Point::Record("before published"),
        Point::Record("after published"),
    ];
    survive_all(&points, |point| {
        let prepared = std::cell::OnceCell::new();
        let drive = |bench: &mut Bench| {
            if bench.github.issues().is_empty() {
                let (_, event) = bench.github.open_issue(AUTHOR, &submission(), &["submission"]);
                bench.try_deliver("issues", &event);
            }
        };
        let reported = |bench: &Bench| state_shown(bench) == Some(JobState::Reported);
        let bench = driven(Some(point), "evaluate = \"at-once\"", |bench| drop(prepared.set(prepare(bench))), drive, reported);
        let prepared = prepared.get().unwrap();
        let assets = bench.github.assets(&prepared.tag());
        assert_eq!(assets.keys().collect::<Vec<_>>(), [&prepared.asset()]);
        assert!(assets[&prepared.asset()] == fs::read(prepared.folder.join(prepared.large().0)).unwrap());
        assert_eq!(bench.commits().len(), 1);
        bench.read();
        bench.finish();
    });
}
