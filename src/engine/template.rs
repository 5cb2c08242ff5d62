//! Chat templates, rendered in the environment that transformers gives them.

use super::{ChatMessage, EngineError};
use chrono::NaiveDate;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use regex::Regex;
use serde::Serialize;
use serde_json::Map;
use std::collections::BTreeMap;
use std::path::Path;

/// The day that templates get when they ask for today: a fixed one, because a prompt must not change with the calendar. It is the day
/// that Llama 3's own template falls back to.
const TODAY: (i32, u32, u32) = (2024, 7, 26);

/// A model's chat template, parsed.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    special: BTreeMap<String, String>,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// `chat_template.jinja`, else `chat_template` of `tokenizer_config.json` (a string, or a list with an entry named `default`).
    pub(super) fn find(
        dir: &Path,
        tokenizer_config: &Map<String, serde_json::Value>,
        special: BTreeMap<String, String>,
    ) -> Result<Option<Self>, EngineError> {
        let path = dir.join("chat_template.jinja");
        let source = match std::fs::read_to_string(&path) {
            Ok(source) => Some(source),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => tokenizer_config.get("chat_template").and_then(default_template),
            Err(error) => return Err(EngineError::Load(format!("{}: {error}", path.display()))),
        };
        // A template that does not parse is an error only for those who ask for it.
        Ok(source.and_then(|source| match Self::parse(&source, special) {
            Ok(template) => Some(template),
            Err(error) => {
                tracing::warn!("{}: the chat template cannot be used: {error}", dir.display());
                None
            }
        }))
    }

    fn parse(source: &str, special: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_marks(source))?;
        Ok(Self { environment, special })
    }

    pub(super) fn render(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError> {
        let refused = |error: Error| EngineError::Request(format!("the model's chat template refuses the messages: {error}"));
        let template = self.environment.get_template(NAME).map_err(refused)?;
        template
            .render(context! { messages, add_generation_prompt, tools => (), documents => (), ..Value::from_serialize(&self.special) })
            .map_err(refused)
    }
}

fn default_template(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(source) => Some(source.clone()),
        serde_json::Value::Array(list) => list
            .iter()
            .find(|entry| entry.get("name").and_then(serde_json::Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")?.as_str())
            .map(str::to_owned),
        _ => None,
    }
}

/// transformers' own `{% generation %}` blocks mark the assistant's tokens for training; here they are blocks that always show.
fn without_generation_marks(source: &str) -> String {
    let replace = |text: &str, from: &str, to: &str| match Regex::new(&format!(r"\{{%([-+]?)\s*{from}\s*([-+]?)%\}}")) {
        Ok(pattern) => pattern.replace_all(text, format!("{{%$1 {to} $2%}}")).into_owned(),
        Err(_) => text.to_owned(),
    };
    let opened = replace(source, "generation", "if true");
    replace(&opened, "endgeneration", "endif")
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let (year, month, day) = TODAY;
    let today = NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "no such date"))?;
    let mut text = String::new();
    std::fmt::Write::write_fmt(&mut text, format_args!("{}", today.format(format)))
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: `{format}` is no date format")))?;
    Ok(text)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`; minijinja's own filter escapes HTML.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands keyword arguments over by value")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    let _: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    match indent {
        Some(width) => {
            let spaces = vec![b' '; width];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(failed)?;
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing)).map_err(failed)?,
    }
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// `", "` between items and `": "` after keys, as Python writes them.
struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str) -> Result<String, EngineError> {
        let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        let messages = [
            ChatMessage { role: "user".to_owned(), content: " Hi \n".to_owned() },
            ChatMessage { role: "assistant".to_owned(), content: "<Yo> é".to_owned() },
        ];
        ChatTemplate::parse(source, special).expect("parses").render(&messages, true)
    }

    #[test]
    fn a_chatml_template_renders_as_in_transformers() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {%- if m['role'] == 'user' %}\n{{ m.content.strip() }}\n    {% endif %}\n{{ '[' + m['role'] + ']' }}{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}\n";
        assert_eq!(render(source).expect("renders"), "<s>Hi\n[user][assistant]A:");
    }

    #[test]
    fn json_is_pythons_and_generation_marks_vanish() {
        assert_eq!(
            render("{% generation %}{{ messages[1] | tojson }}{%- endgeneration -%}  {{ {'a': [1, 2]} | tojson(indent=2) }}")
                .expect("renders"),
            "{\"role\": \"assistant\", \"content\": \"<Yo> é\"}{\n  \"a\": [\n    1,\n    2\n  ]\n}"
        );
    }

    #[test]
    fn a_template_may_refuse_and_today_is_fixed() {
        let refusal = render("{{ raise_exception('no system role') }}").unwrap_err();
        assert!(matches!(&refusal, EngineError::Request(text) if text.contains("no system role")), "{refusal}");
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}").expect("renders"), "26 Jul 2024");
        assert!(render("{{ strftime_now('%Q') }}").is_err());
    }

    #[test]
    fn the_entry_named_default_is_taken_from_a_list() {
        let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        assert_eq!(default_template(&list).as_deref(), Some("d"));
    }
}
