//! A Hugging Face cache folder with the demonstration model and small data sets, written for a test.

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const MODEL: &str = "slm-benchmark/demo-1m";

/// A column of a data set.
pub(crate) enum Column {
    Text(Vec<String>),
    Integer(Vec<i64>),
}

pub(crate) struct HubCache {
    folder: tempfile::TempDir,
}

impl HubCache {
    /// A cache with the model of `models/demo` and no data set.
    pub(crate) fn with_model() -> Self {
        let cache = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(cache.model()).unwrap();
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), cache.model().join(file.file_name())).unwrap();
        }
        cache.refer("models", MODEL);
        cache
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the model's files.
    pub(crate) fn model(&self) -> PathBuf {
        self.home("models", MODEL).join("snapshots").join(COMMIT)
    }

    fn home(&self, kind: &str, repo: &str) -> PathBuf {
        self.path().join(format!("{kind}--{}", repo.replace('/', "--")))
    }

    fn refer(&self, kind: &str, repo: &str) {
        let refs = self.home(kind, repo).join("refs");
        fs::create_dir_all(&refs).unwrap();
        fs::write(refs.join("main"), COMMIT).unwrap();
    }

    /// Writes a split of a data set and gives its file.
    pub(crate) fn split(&self, repo: &str, config: &str, split: &str, columns: &[(&str, Column)]) -> PathBuf {
        let folder = self.home("datasets", repo).join("snapshots").join(COMMIT).join(config);
        fs::create_dir_all(&folder).unwrap();
        self.refer("datasets", repo);
        let path = folder.join(format!("{split}-00000-of-00001.parquet"));
        write_parquet(&path, columns);
        path
    }

    /// `boolq`: log-likelihoods, with examples.
    pub(crate) fn boolq(&self, documents: usize) {
        for (split, number) in [("train", 6), ("validation", documents)] {
            let columns = [
                ("question", text(number, |n| format!("is {} {}", word(n), word(n * 7 + 1)))),
                ("passage", text(number, |n| sentence(n, 12))),
                ("idx", Column::Integer((0..).take(number).collect())),
                ("label", Column::Integer((0..).map(|n| n % 2).take(number).collect())),
            ];
            self.split("aps/super_glue", "boolq", split, &columns);
        }
    }

    /// `wikitext`: rolling log-likelihoods.
    pub(crate) fn wikitext(&self, documents: usize) -> PathBuf {
        let columns = [("page", text(documents, |n| format!(" = {} = \n \n {} . \n", word(n), sentence(n, 60))))];
        self.split("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "test", &columns)
    }

    /// `gsm8k`: generation, with examples.
    pub(crate) fn gsm8k(&self, documents: usize) -> PathBuf {
        let mut path = PathBuf::new();
        for (split, number) in [("train", 6), ("test", documents)] {
            let columns = [
                ("question", text(number, |n| format!("A {} has {n} {}s and gets {} more. How many?", word(n), word(n + 3), n + 2))),
                ("answer", text(number, |n| format!("{n} + {} = {}\n#### {}", n + 2, 2 * n + 2, 2 * n + 2))),
            ];
            path = self.split("openai/gsm8k", "main", split, &columns);
        }
        path
    }
}

fn text(number: usize, value: impl Fn(usize) -> String) -> Column {
    Column::Text((0..number).map(value).collect())
}

fn word(n: usize) -> &'static str {
    const WORDS: [&str; 12] = ["river", "stone", "cat", "lamp", "boat", "green", "old", "walks", "under", "the", "apple", "sings"];
    WORDS[(n * 5 + n / 7) % WORDS.len()]
}

fn sentence(n: usize, words: usize) -> String {
    (0..words).map(|place| word(n * 13 + place * place + place)).collect::<Vec<_>>().join(" ")
}

fn write_parquet(path: &Path, columns: &[(&str, Column)]) {
    let fields: String = columns
        .iter()
        .map(|(name, column)| match column {
            Column::Text(_) => format!("required binary {name} (STRING); "),
            Column::Integer(_) => format!("required int64 {name}; "),
        })
        .collect();
    let schema = parquet::schema::parser::parse_message_type(&format!("message rows {{ {fields} }}")).unwrap();
    let mut writer = SerializedFileWriter::new(fs::File::create(path).unwrap(), Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        let mut output = group.next_column().unwrap().unwrap();
        match column {
            Column::Text(values) => {
                let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(value.as_str())).collect();
                output.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            }
            Column::Integer(values) => {
                output.typed::<Int64Type>().write_batch(values, None, None).unwrap();
            }
        }
        output.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}
