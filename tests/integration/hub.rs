//! Promises of the hub room, kept against a stand-in that speaks the hub's API and misbehaves on demand.

mod stand_in;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slm_benchmark::hub::{GatedAccess, GgufFiles, Hub, HubConfig, HubError, LocalModel, ModelFacts, Progress, Token, Weights};
use stand_in::{Fault, Repository, Seen, StandIn};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TOKEN: &str = "the-secret-token";
const CONFIG: &[u8] = br#"{"model_type": "llama", "tie_word_embeddings": true, "max_position_embeddings": 2048}"#;

/// A stand-in, a cache, and the pauses that the hub asked for between tries (it never really waits).
struct Bench {
    server: StandIn,
    cache: tempfile::TempDir,
    pauses: Arc<Mutex<Vec<Duration>>>,
}

impl Bench {
    fn new() -> Self {
        Self { server: StandIn::start(), cache: tempfile::tempdir().unwrap(), pauses: Arc::default() }
    }

    fn config(&self) -> HubConfig {
        HubConfig {
            endpoint: self.server.endpoint.clone(),
            offline: false,
            token: Some(Token::new(TOKEN).unwrap()),
            silence: Duration::from_secs(20),
            ..HubConfig::offline(self.cache.path())
        }
    }

    fn hub_of(&self, config: &HubConfig) -> Hub {
        let pauses = Arc::clone(&self.pauses);
        Hub::with_sleep(config, Arc::new(move |pause| pauses.lock().unwrap().push(pause))).unwrap()
    }

    fn hub(&self) -> Hub {
        self.hub_of(&self.config())
    }

    fn anonymous(&self) -> Hub {
        self.hub_of(&HubConfig { token: None, ..self.config() })
    }

    fn offline(&self) -> Hub {
        self.hub_of(&HubConfig { offline: true, ..self.config() })
    }

    fn facts(&self) -> Result<ModelFacts, HubError> {
        self.hub().model_facts("org/model", None, GgufFiles::All)
    }

    fn download(&self) -> Result<LocalModel, HubError> {
        download(&self.hub())
    }

    fn repo_dir(&self) -> std::path::PathBuf {
        self.cache.path().join("models--org--model")
    }

    /// Names in the folder of blobs.
    fn blobs(&self) -> Vec<String> {
        let Ok(listing) = std::fs::read_dir(self.repo_dir().join("blobs")) else { return Vec::new() };
        let mut names: Vec<String> = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn pauses(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.pauses.lock().unwrap())
    }
}

fn download(hub: &Hub) -> Result<LocalModel, HubError> {
    hub.download_model("org/model", None, &Weights::Safetensors, &mut |_| {})
}

/// A safetensors file with F32 tensors; the data is a reproducible pattern.
fn safetensors(tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let begin = end;
        end += shape.iter().product::<u64>() * 4;
        header.insert((*name).to_owned(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..end).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()));
    file
}

/// A model of 3 MiB whose embedding is tied.
fn weights() -> Vec<u8> {
    safetensors(&[("model.embed_tokens.weight", &[1024, 512]), ("model.layer.weight", &[512, 512])])
}

fn model() -> Repository {
    let card = json!({"license": "mit"});
    Repository::new(&[
        ("README.md", b"---\nlicense: mit\n---\n"),
        ("config.json", CONFIG),
        ("model.safetensors", &weights()),
        ("pytorch_model.bin", b"never asked for"),
        ("tokenizer.json", b"{\"tokenizer\": 1}"),
        ("tokenizer_config.json", b"{}"),
    ])
    .info("cardData", card)
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn ranges_at_storage(seen: &[Seen]) -> Vec<Option<String>> {
    seen.iter().filter(|seen| seen.host == "storage").map(|seen| seen.header("range").map(str::to_owned)).collect()
}

/// Facts come from info, listing (over pages), configuration and headers; the weights themselves are never downloaded.
#[test]
fn facts_need_no_weights() {
    let bench = Bench::new();
    let shards = [
        ("model-00001-of-00002.safetensors", safetensors(&[("model.embed_tokens.weight", &[512, 1024])])),
        ("model-00002-of-00002.safetensors", safetensors(&[("lm_head.weight", &[512, 1024]), ("norm.weight", &[1024])])),
    ];
    let index =
        json!({"weight_map": {"model.embed_tokens.weight": shards[0].0, "lm_head.weight": shards[1].0, "norm.weight": shards[1].0}});
    let repository = Repository::new(&[
        ("config.json", CONFIG),
        ("model.safetensors.index.json", index.to_string().as_bytes()),
        (shards[0].0, &shards[0].1),
        (shards[1].0, &shards[1].1),
        ("sub/notes.txt", b"x"),
    ])
    .info("tags", json!(["license:apache-2.0"]));
    let commit = repository.commit("main");
    bench.server.put("models/org/model", repository);
    let facts = bench.facts().unwrap();
    assert_eq!((facts.repo.as_str(), &facts.commit), ("org/model", &commit));
    assert_eq!((facts.private, facts.disabled, facts.gated), (false, false, GatedAccess::Open));
    assert_eq!((facts.license.as_deref(), facts.model_type()), (Some("apache-2.0"), Some("llama")));
    let paths: Vec<&str> = facts.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", shards[0].0, shards[1].0, "model.safetensors.index.json", "sub/notes.txt"]);
    assert_eq!(facts.files[1].sha256, Some(sha256(&shards[0].1)));
    assert_eq!(facts.files[1].size, Some(shards[0].1.len() as u64));
    // The output embedding is tied: it is stored twice and counts once.
    assert_eq!(facts.safetensors_parameters, Some(512 * 1024 + 1024));
    assert!(bench.server.content_bytes() < 200_000, "the weights stay where they are");
    // The same from the commit itself.
    assert_eq!(bench.hub().model_facts("org/model", Some(&commit), GgufFiles::All).unwrap(), facts);
}

/// The token goes to the hub with every request, and never to the host that the hub redirects to.
#[test]
fn the_token_stays_with_the_hub() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    bench.facts().unwrap();
    bench.download().unwrap();
    let seen = bench.server.seen();
    assert!(seen.iter().any(|seen| seen.host == "storage"));
    for seen in seen {
        let expected = (seen.host == "hub").then(|| format!("Bearer {TOKEN}"));
        assert_eq!(seen.header("authorization"), expected.as_deref(), "{seen:?}");
        assert!(!seen.target.contains(TOKEN));
    }
}

/// Gated, private, disabled and missing repositories are told apart.
#[test]
fn access_is_told_apart() {
    let bench = Bench::new();
    let gated = Repository { needs_token: Some(TOKEN.to_owned()), ..model() }.info("gated", json!("manual"));
    bench.server.put("models/org/model", gated.clone());
    let with = bench.facts().unwrap();
    assert_eq!((with.gated, with.safetensors_parameters.is_some()), (GatedAccess::GatedWithAccess, true));
    let without = bench.anonymous().model_facts("org/model", None, GgufFiles::All).unwrap();
    assert_eq!((without.gated, without.safetensors_parameters, without.config), (GatedAccess::GatedWithoutAccess, None, None));
    let message = download(&bench.anonymous()).unwrap_err().to_string();
    assert!(message.contains("accept its terms"), "{message}");

    bench.server.put("models/org/model", Repository { hidden: true, ..gated.info("private", json!(true)) });
    assert!(bench.facts().unwrap().private);
    let error = bench.anonymous().model_facts("org/model", None, GgufFiles::All).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }) && error.to_string().contains("HF_TOKEN"), "{error}");

    bench.server.put("models/org/model", model().info("disabled", json!(true)));
    assert!(bench.facts().unwrap().disabled);
    let error = bench.hub().model_facts("org/model", Some("no-such-branch"), GgufFiles::All).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    bench.server.fault("hub", "/revision/", 1, Fault::Status(401, Vec::new()));
    let error = bench.facts().unwrap_err();
    assert!(matches!(error, HubError::Unauthorized { status: 401, .. }) && !error.is_about_the_repository(), "the token is the operator's");
    bench.server.fault("hub", "/revision/", 1, Fault::Status(403, vec![("x-error-code", "DisabledRepo".to_owned())]));
    assert!(matches!(bench.facts().unwrap_err(), HubError::Disabled { .. }));
    assert!(bench.pauses().is_empty(), "a refusal is final: nothing is tried twice");
}

/// Passing failures are tried again, with growing pauses or the pause that the hub asks for, and a bounded number of times.
#[test]
fn passing_failures_are_retried() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    bench.server.fault("hub", "/revision/", 1, Fault::Status(429, vec![("retry-after", "7".to_owned())]));
    bench.server.fault("hub", "/revision/", 1, Fault::Status(429, vec![("ratelimit", "\"api\";r=0;t=11".to_owned())]));
    let date = vec![("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()), ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT".to_owned())];
    bench.server.fault("hub", "/revision/", 1, Fault::Status(503, date));
    bench.facts().unwrap();
    assert_eq!(bench.pauses(), [7, 11, 60].map(Duration::from_secs));

    bench.server.fault("hub", "/tree/", 1, Fault::Status(500, Vec::new()));
    bench.server.fault("hub", "/tree/", 1, Fault::DropAfter(10));
    bench.server.fault("hub", "resolve", 1, Fault::Status(502, Vec::new()));
    bench.server.fault("storage", "", 1, Fault::DropAfter(4));
    bench.facts().unwrap();
    assert_eq!(bench.pauses().len(), 4);

    bench.server.fault("hub", "/revision/", 99, Fault::Status(500, Vec::new()));
    let error = bench.facts().unwrap_err();
    assert!(matches!(error, HubError::Server { status: 500, .. }) && error.is_transient(), "{error}");
    let pauses = bench.pauses();
    assert_eq!(pauses.len(), 4, "five tries");
    for (at, pause) in pauses.iter().enumerate() {
        let base = Duration::from_millis(500) * (1 << at);
        assert!((base..=base.mul_f64(1.25)).contains(pause), "pause {at}: {pause:?}");
    }
    bench.server.clear_faults();
    bench.server.fault("hub", "/revision/", 1, Fault::Status(429, vec![("retry-after", "86400".to_owned())]));
    let error = bench.facts().unwrap_err();
    assert!(matches!(error, HubError::RateLimited { retry_after_s: Some(86400), .. }), "{error}");
    assert!(bench.pauses().is_empty(), "nobody waits a day");
}

/// A hub that is not there is an error with a remedy.
#[test]
fn an_unreachable_hub_is_reported() {
    let bench = Bench::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = bench.hub_of(&HubConfig { endpoint: format!("http://{closed}"), ..bench.config() });
    let error = hub.model_facts("org/model", None, GgufFiles::None).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }) && error.to_string().contains("HF_HUB_OFFLINE=1"), "{error}");
    assert_eq!(bench.pauses().len(), 4);
}

/// A download takes what an engine needs, into the layout that other programs share, with the hash of every file.
#[test]
fn downloads_into_the_shared_layout() {
    let bench = Bench::new();
    let repository = model();
    let commit = repository.commit("main");
    bench.server.put("models/org/model", repository);
    let mut last = None;
    let mut note = |progress: Progress<'_>| last = Some((progress.done, progress.total));
    let local = bench.hub().download_model("org/model", None, &Weights::Safetensors, &mut note).unwrap();
    let paths: Vec<&str> = local.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    let total = local.files.iter().map(|file| file.bytes).sum::<u64>();
    assert_eq!(last, Some((total, total)));
    for file in &local.files {
        let content = std::fs::read(local.place(file)).unwrap();
        assert_eq!((file.sha256.as_str(), file.bytes), (sha256(&content).as_str(), content.len() as u64));
    }
    assert_eq!(local.dir, bench.repo_dir().join("snapshots").join(&commit));
    assert_eq!(std::fs::read_to_string(bench.repo_dir().join("refs/main")).unwrap(), commit);
    let link = std::fs::read_link(local.dir.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    assert_eq!(local.weights().count(), 1);

    // Again: nothing but the listing is asked for; offline: nothing at all.
    bench.server.seen();
    assert_eq!(bench.download().unwrap(), local);
    assert!(bench.server.seen().iter().all(|seen| seen.target.starts_with("/api/")));
    assert_eq!(download(&bench.offline()).unwrap(), local);
    let facts = bench.offline().model_facts("org/model", None, GgufFiles::All).unwrap();
    assert_eq!((facts.commit, facts.safetensors_parameters), (commit.clone(), Some(1024 * 512 + 512 * 512)));
    assert!(bench.server.seen().is_empty());

    // The hub goes away: a pinned commit that is cached in full is enough.
    bench.server.fault("hub", "", 99, Fault::Status(503, Vec::new()));
    let pinned = bench.hub().download_model("org/model", Some(&commit), &Weights::Safetensors, &mut |_| {});
    assert_eq!(pinned.unwrap(), local);
    assert!(bench.download().unwrap_err().is_transient(), "a branch may have moved: the cache does not stand for it");
}

/// One GGUF file is downloaded by name, with its size measured from its header.
#[test]
fn gguf_files_are_read_and_downloaded() {
    let bench = Bench::new();
    let file = gguf(&[("token_embd.weight", &[256, 1024]), ("blk.0.ffn.weight", &[256, 256])]);
    bench.server.put("models/org/model", Repository::new(&[("a-q4_0.gguf", b"no GGUF at all"), ("q/b-f32.gguf", &file)]));
    let wanted = ["q/b-f32.gguf".to_owned()];
    let facts = bench.hub().model_facts("org/model", None, GgufFiles::Only(&wanted)).unwrap();
    assert_eq!(facts.gguf_parameters.into_iter().collect::<Vec<_>>(), [(wanted[0].clone(), 256 * 1024 + 256 * 256)]);
    assert_eq!(facts.safetensors_parameters, None);
    let summary = bench.hub().gguf_summary("org/model", &facts.commit, &wanted[0]).unwrap();
    assert_eq!((summary.architecture.as_deref(), summary.context_length), (Some("llama"), Some(4096)));
    let local = bench.hub().download_model("org/model", None, &Weights::Gguf(wanted[0].clone()), &mut |_| {}).unwrap();
    assert_eq!(local.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["q/b-f32.gguf"]);
    assert_eq!(std::fs::read(local.place(&local.files[0])).unwrap(), file);
    assert!(matches!(bench.facts().unwrap_err(), HubError::Corrupt { .. }), "the other file is no GGUF");
    let missing = ["c.gguf".to_owned()];
    assert!(matches!(bench.hub().model_facts("org/model", None, GgufFiles::Only(&missing)), Err(HubError::NotFound { .. })));
}

/// A connection that breaks again and again is resumed where it broke.
#[test]
fn broken_downloads_resume() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    for _ in 0..7 {
        bench.server.fault("storage", "", 1, Fault::DropAfter(300_000));
    }
    let local = bench.download().unwrap();
    let weights = weights();
    assert_eq!(std::fs::read(local.dir.join("model.safetensors")).unwrap(), weights);
    let ranges = ranges_at_storage(&bench.server.seen());
    assert_eq!(ranges.len(), 8);
    assert!(ranges[0].is_none() && ranges[1..].iter().all(Option::is_some), "{ranges:?}");
    assert!(bench.server.content_bytes() < weights.len() as u64 + 100_000, "no byte comes twice");
    assert!(bench.blobs().iter().all(|name| !name.ends_with(".incomplete")));
}

/// A server without ranges is read from the beginning; the file is the same.
#[test]
fn servers_without_ranges_are_understood() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    bench.server.fault("storage", "", 1, Fault::DropAfter(300_000));
    bench.server.fault("storage", "", 99, Fault::NoRanges);
    let local = bench.download().unwrap();
    assert_eq!(std::fs::read(local.dir.join("model.safetensors")).unwrap(), weights());
    assert_eq!(bench.facts().unwrap().safetensors_parameters, Some(1024 * 512 + 512 * 512));
}

/// Content that does not match the announced hash never becomes a file of the cache.
#[test]
fn wrong_content_is_refused() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    for (host, part, path) in [("storage", "", "model.safetensors"), ("hub", "resolve", "tokenizer.json")] {
        if host == "storage" {
            bench.server.fault(host, part, 1, Fault::WrongByte);
        } else {
            let long = format!("{{\"padding\": \"{}\"}}", "x".repeat(200));
            bench.server.put("models/org/model", Repository::new(&[("model.safetensors", &weights()), (path, long.as_bytes())]));
            bench.server.fault(host, path, 2, Fault::WrongByte);
        }
        let error = bench.download().unwrap_err();
        assert!(matches!(&error, HubError::Corrupt { what, .. } if what.contains(path)), "{error}");
        assert!(bench.blobs().iter().all(|name| !name.ends_with(".incomplete")), "{:?}", bench.blobs());
        bench.server.clear_faults();
        let local = bench.download().unwrap();
        assert!(local.files.iter().any(|file| file.path == path));
    }
}

/// A file that ends early is an error that says so; what came is kept, and resumed when the hub has mended it.
#[test]
fn truncated_files_are_noticed() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    bench.server.fault("storage", "", 99, Fault::Truncate(1_000_000));
    let error = bench.download().unwrap_err();
    assert!(error.to_string().contains("1000000 of 3145"), "{error}");
    assert!(!bench.repo_dir().join("snapshots").join(model().commit("main")).join("model.safetensors").exists());
    assert!(!bench.repo_dir().join("refs/main").exists(), "the reference names whole snapshots only");
    let error = download(&bench.offline()).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    bench.server.clear_faults();
    bench.server.seen();
    bench.download().unwrap();
    assert_eq!(ranges_at_storage(&bench.server.seen()), [Some("bytes=1000000-".to_owned())]);
}

/// A damaged part from an earlier try does not spoil the download.
#[test]
fn a_damaged_part_is_thrown_away() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    let blobs = bench.repo_dir().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", sha256(&weights()))), vec![7; 500_000]).unwrap();
    let local = bench.download().unwrap();
    assert_eq!(std::fs::read(local.dir.join("model.safetensors")).unwrap(), weights());
}

/// A cached file that has rotted is fetched again where there is a hub, and reported where there is none.
#[test]
fn rotten_cache_entries_are_noticed() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    let local = bench.download().unwrap();
    let blob = bench.repo_dir().join("blobs").join(sha256(&weights()));
    let mut content = weights();
    content[1_000_000] ^= 1;
    std::fs::write(&blob, &content).unwrap();
    let error = download(&bench.offline()).unwrap_err();
    assert!(matches!(&error, HubError::Corrupt { .. }) && error.to_string().contains("delete"), "{error}");
    assert_eq!(bench.download().unwrap(), local);
    assert_eq!(download(&bench.offline()).unwrap(), local);
}

/// Several downloads of the same file at once fetch its content once.
#[test]
fn concurrent_downloads_share_the_work() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    let models: Vec<LocalModel> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.download().unwrap())).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(models.iter().all(|model| *model == models[0]));
    assert_eq!(ranges_at_storage(&bench.server.seen()).len(), 1);
}

/// A process that is killed in the middle of a download leaves a sound cache, and the next one goes on where it was.
#[test]
fn a_killed_download_is_resumed() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    bench.server.fault("storage", "", 1, Fault::StallAfter(1_500_000));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hub::download_in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("HF_ENDPOINT", &bench.server.endpoint)
        .env("HF_HUB_CACHE", bench.cache.path())
        .env_remove("HF_HUB_OFFLINE")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let part = bench.repo_dir().join("blobs").join(format!("{}.incomplete", sha256(&weights())));
    let begun = Instant::now();
    while std::fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 1_500_000 {
        assert!(begun.elapsed() < Duration::from_mins(5), "the download does not get going");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(download(&bench.offline()).unwrap_err(), HubError::Offline { .. }));
    bench.server.seen();
    let local = bench.download().unwrap();
    assert_eq!(std::fs::read(local.dir.join("model.safetensors")).unwrap(), weights());
    assert_eq!(ranges_at_storage(&bench.server.seen()), [Some("bytes=1500000-".to_owned())]);
}

/// The process that the test above kills.
#[test]
#[ignore = "run by a_killed_download_is_resumed"]
fn download_in_a_process_of_its_own() {
    download(&Hub::new(&HubConfig::from_env().unwrap()).unwrap()).unwrap();
}

/// A full disk is an error that says so, and what filled it is given back.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    let blobs = bench.repo_dir().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.incomplete", sha256(&weights())));
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = bench.download().unwrap_err();
    assert!(matches!(error, HubError::Disk { .. }) && error.to_string().contains("the disk is full"), "{error}");
    assert!(std::fs::symlink_metadata(&part).is_err());
    bench.download().unwrap();
}

/// Headers that lie are refused at once, with few bytes read and whatever they claim.
#[test]
fn hostile_headers_are_refused() {
    let bench = Bench::new();
    let good = weights();
    let header_end = 8 + usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let mut endless = good.clone();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let overlapping = String::from_utf8_lossy(&good[..header_end]).replace("[2097152,3145728]", "[2097148,3145724]").into_bytes();
    let overlapping = [overlapping.as_slice(), &good[header_end..]].concat();
    let cases = [endless, good[..header_end + 1000].to_vec(), overlapping, good[..20].to_vec(), b"short".to_vec(), Vec::new()];
    for (at, case) in cases.iter().enumerate() {
        bench.server.put("models/org/model", Repository::new(&[("config.json", CONFIG), ("model.safetensors", case)]));
        let error = bench.facts().unwrap_err();
        assert!(matches!(&error, HubError::Corrupt { what, .. } if what.contains("model.safetensors")), "case {at}: {error}");
        assert!(error.is_about_the_repository() && !error.is_transient());
    }
    assert!(bench.server.content_bytes() < 1_000_000);
    let index = json!({"weight_map": {"a": "../../../evil.safetensors"}}).to_string();
    let files: [(&str, &[u8]); 2] = [("model.safetensors.index.json", index.as_bytes()), ("../../../evil.safetensors", &good)];
    bench.server.put("models/org/model", Repository::new(&files));
    assert!(matches!(bench.facts().unwrap_err(), HubError::Corrupt { .. }));
    assert!(matches!(bench.download().unwrap_err(), HubError::Corrupt { .. }));
    assert!(!bench.cache.path().parent().unwrap().join("evil.safetensors").exists());
}

/// Offline, what is missing is named with what to do; no connection is opened.
#[test]
fn offline_means_no_connection() {
    let bench = Bench::new();
    bench.server.put("models/org/model", model());
    let hub = bench.offline();
    let errors = [
        hub.model_facts("org/model", None, GgufFiles::All).unwrap_err(),
        download(&hub).unwrap_err(),
        hub.dataset_split("org/data", None, "test", None).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, HubError::Offline { .. }) && error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    }
    assert!(bench.server.seen().is_empty());
}

/// Rows come from the repository's own Parquet files at a pinned commit; a second reading asks nothing.
#[test]
fn dataset_rows_are_pinned() {
    let bench = Bench::new();
    let (first, second) = (parquet(&["a", "b"]), parquet(&["c"]));
    let repository = Repository::new(&[
        ("README.md", b"x"),
        ("main/test-00000-of-00002.parquet", &first),
        ("main/test-00001-of-00002.parquet", &second),
        ("main/train-00000-of-00001.parquet", &first),
        ("other/test-00000-of-00001.parquet", &second),
    ]);
    let commit = repository.commit("main");
    bench.server.put("datasets/org/data", repository);
    let read = bench.hub().dataset_split("org/data", Some("main"), "test", Some(&commit)).unwrap();
    assert_eq!((read.config.as_str(), read.split.as_str(), &read.revision), ("main", "test", &commit));
    assert_eq!(serde_json::to_string(&read.rows).unwrap(), r#"[{"text":"a","label":0},{"text":"b","label":1},{"text":"c","label":0}]"#);
    assert_eq!(read.files.iter().map(|file| &file.sha256).collect::<Vec<_>>(), [&sha256(&first), &sha256(&second)]);
    bench.server.seen();
    assert_eq!(bench.hub().dataset_split("org/data", Some("main"), "test", Some(&commit)).unwrap(), read);
    assert_eq!(bench.offline().dataset_split("org/data", Some("main"), "test", Some(&commit)).unwrap(), read);
    assert!(bench.server.seen().is_empty(), "a pinned split is read from the cache");
    let message = bench.hub().dataset_split("org/data", Some("main"), "dev", None).unwrap_err().to_string();
    assert!(message.contains("main (test, train); other (test)"), "{message}");
    let message = bench.hub().dataset_split("org/data", None, "test", None).unwrap_err().to_string();
    assert!(message.contains("\"default\""), "{message}");
}

/// Without Parquet of its own, a dataset is read from the hub's conversion; a partly cached one is completed first.
#[test]
fn converted_datasets_are_found() {
    let bench = Bench::new();
    let (first, second) = (parquet(&["a", "b"]), parquet(&["c"]));
    let converted: [(&str, &[u8]); 3] =
        [("boolq/validation/0000.parquet", &first), ("boolq/validation/0001.parquet", &second), ("cb/partial-train/0000.parquet", &first)];
    let repository = Repository::new(&[("boolq.py", b"script")]).branch("refs/convert/parquet", &converted);
    let commit = repository.commit("refs/convert/parquet");
    bench.server.put("datasets/org/data", repository);
    bench.server.fault("hub", "0000.parquet", 99, Fault::Status(404, Vec::new()));
    bench.hub().dataset_split("org/data", Some("boolq"), "validation", None).unwrap_err();
    bench.server.clear_faults();
    bench.offline().dataset_split("org/data", Some("boolq"), "validation", Some(&commit)).unwrap_err();
    let read = bench.hub().dataset_split("org/data", Some("boolq"), "validation", None).unwrap();
    assert_eq!((read.rows.len(), &read.revision), (3, &commit));
    assert_eq!(bench.offline().dataset_split("org/data", Some("boolq"), "validation", Some("refs/convert/parquet")).unwrap(), read);
    let error = bench.hub().dataset_split("org/data", Some("cb"), "train", None).unwrap_err();
    assert!(error.to_string().contains("only a part"), "{error}");
}

/// Empty splits and damaged Parquet files are errors that name them.
#[test]
fn unusable_datasets_are_reported() {
    let bench = Bench::new();
    let good = parquet(&["a"]);
    let files: [(&str, &[u8]); 4] = [
        ("data/empty-00000-of-00001.parquet", &parquet(&[])),
        ("data/cut-00000-of-00001.parquet", &good[..good.len() / 2]),
        ("data/noise-00000-of-00001.parquet", b"PAR1 this is no parquet file PAR1"),
        ("data/half-00000-of-00002.parquet", &good),
    ];
    bench.server.put("datasets/org/data", Repository::new(&files));
    for (split, expected) in [("empty", "no rows"), ("cut", "cut-00000"), ("noise", "noise-00000"), ("half", "not complete")] {
        let error = bench.hub().dataset_split("org/data", None, split, None).unwrap_err();
        assert!(matches!(error, HubError::Corrupt { .. }) && error.to_string().contains(expected), "{error}");
    }
}

/// A Parquet file with a text and an integer column.
fn parquet(texts: &[&str]) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    let schema = parquet::schema::parser::parse_message_type("message m { required binary text (UTF8); required int64 label; }").unwrap();
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let labels: Vec<i64> = (0..).take(texts.len()).collect();
    column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    out
}

/// A GGUF file of F32 tensors with a vocabulary of two mebibytes before them, so that the header takes several steps.
fn gguf(tensors: &[(&str, &[u64])]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(3_u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8_u32.to_le_bytes());
    text(&mut out, "llama");
    text(&mut out, "tokenizer.ggml.tokens");
    out.extend(9_u32.to_le_bytes());
    out.extend(8_u32.to_le_bytes());
    out.extend(100_000_u64.to_le_bytes());
    for token in 0..100_000 {
        text(&mut out, &format!("token {token:06}"));
    }
    text(&mut out, "llama.context_length");
    out.extend(4_u32.to_le_bytes());
    out.extend(4096_u32.to_le_bytes());
    let mut offset = 0_u64;
    for (name, shape) in tensors {
        text(&mut out, name);
        out.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
        for size in *shape {
            out.extend(size.to_le_bytes());
        }
        out.extend(0_u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += shape.iter().product::<u64>() * 4;
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.resize(out.len() + usize::try_from(offset).unwrap(), 1);
    out
}
