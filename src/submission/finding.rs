//! What the validator has to say: one [`Finding`] per problem, with its place and its remedy.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The submission cannot be accepted as it stands.
    Error,
    /// Accepted, but probably not what the author meant.
    Warning,
    /// For information.
    Note,
}

impl Severity {
    /// The word that reports use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($(#[$documentation:meta])* $variant:ident = $name:literal,)*) => {
        /// Which rule a finding comes from. The names are stable: machines may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$documentation])* #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order in which a submission passes the rules.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that reports and JSON use.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

codes! {
    /// The input is larger than the validator reads.
    TooLarge = "too_large",
    /// The input is not UTF-8 text.
    NotUtf8 = "not_utf8",
    /// The issue holds no submission.
    NoSubmission = "no_submission",
    /// The issue holds several submissions that differ.
    AmbiguousSubmission = "ambiguous_submission",
    /// The code block with the submission is never closed.
    UnclosedFence = "unclosed_fence",
    /// The submission stands in the issue outside of a code block.
    UnfencedYaml = "unfenced_yaml",
    /// A control character or one that changes the direction of text.
    ControlCharacter = "control_character",
    /// A line is indented by a tab.
    TabIndentation = "tab_indentation",
    /// A line is indented by a character that only looks like a space.
    UnusualSpace = "unusual_space",
    /// The text is not YAML.
    YamlSyntax = "yaml_syntax",
    /// The YAML is nested too deep.
    YamlDepth = "yaml_depth",
    /// The YAML has more values than a submission can have.
    YamlSize = "yaml_size",
    /// An anchor (`&name`).
    YamlAnchor = "yaml_anchor",
    /// An alias (`*name`).
    YamlAlias = "yaml_alias",
    /// A tag (`!name`).
    YamlTag = "yaml_tag",
    /// A key that is not a word, or a merge key (`<<`).
    YamlKey = "yaml_key",
    /// More than one YAML document.
    SeveralDocuments = "several_documents",
    /// A key stands twice in one mapping.
    DuplicateKey = "duplicate_key",
    /// A required field is missing or empty.
    MissingField = "missing_field",
    /// A field that the schema does not know.
    UnknownField = "unknown_field",
    /// A value of the wrong kind (text, number, list, mapping).
    WrongType = "wrong_type",
    /// A value that does not have the form that its field asks for.
    BadValue = "bad_value",
    /// A value that is not one of those allowed.
    NotOneOf = "not_one_of",
    /// A text that is too long.
    TooLong = "too_long",
    /// A list with too many entries.
    TooMany = "too_many",
    /// A number outside of its range.
    OutOfRange = "out_of_range",
    /// An older field without effect.
    FieldIgnored = "field_ignored",
    /// An example's value was left in place.
    PlaceholderValue = "placeholder_value",
    /// `submitted_by` is not the account that opened the issue.
    SubmitterMismatch = "submitter_mismatch",
    /// `contact` looks neither like a mail address nor like a web address.
    ContactUnclear = "contact_unclear",
    /// A category of older submissions.
    CategoryOld = "category_old",
    /// A category or quantization is listed twice.
    ListedTwice = "listed_twice",
    /// The categories leave out a pillar that the ranking needs.
    NotRanked = "not_ranked",
    /// A quantization name that its format does not know.
    QuantizationName = "quantization_name",
    /// The GGUF file's name says another quantization than the entry's.
    QuantizationLabel = "quantization_label",
    /// An older name of a weight format.
    FormatOld = "format_old",
    /// `source` with a format that has no use for it.
    SourceUnused = "source_unused",
    /// More parameters than the leaderboard takes, declared or measured.
    TooManyParameters = "too_many_parameters",
    /// Fewer than a million parameters.
    FewParameters = "few_parameters",
    /// Declared and measured size differ by more than 10 %.
    ParametersMismatch = "parameters_mismatch",
    /// The weight files' headers do not tell the size.
    ParametersUnmeasured = "parameters_unmeasured",
    /// The licence is not in the table.
    LicenceUnknown = "licence_unknown",
    /// The licence does not permit evaluation and publication of results.
    LicenceNotPermitted = "licence_not_permitted",
    /// The hub states another licence.
    LicenceMismatch = "licence_mismatch",
    /// The hub states no licence.
    LicenceUnstated = "licence_unstated",
    /// The hub has no such repository or revision, or it is private.
    RepositoryNotFound = "repository_not_found",
    /// The hub answered with something that cannot be used.
    RepositoryUnreadable = "repository_unreadable",
    /// The repository is private.
    RepositoryPrivate = "repository_private",
    /// The repository has been disabled by the hub.
    RepositoryDisabled = "repository_disabled",
    /// The repository is gated.
    RepositoryGated = "repository_gated",
    /// The hub spells the repository differently, or it was renamed.
    RepositoryRenamed = "repository_renamed",
    /// The revision is not a commit; it was resolved to one.
    RevisionPinned = "revision_pinned",
    /// The repository has no weights in the declared format.
    WeightsMissing = "weights_missing",
    /// The repository has only pickled weights.
    WeightsPickled = "weights_pickled",
    /// The model needs code from its repository.
    RemoteCode = "remote_code",
    /// The repository has no readable `config.json`.
    ConfigurationMissing = "configuration_missing",
    /// The engine does not load the architecture.
    ArchitectureNotLoadable = "architecture_not_loadable",
    /// The declared architecture is not the hub's `model_type`.
    ArchitectureMismatch = "architecture_mismatch",
    /// The declared context length is longer than the model's window.
    ContextLengthMismatch = "context_length_mismatch",
    /// Already evaluated at this revision with the current suite.
    AlreadyEvaluated = "already_evaluated",
    /// More findings than a report shows.
    MoreFindings = "more_findings",
}

/// One problem, its place in the file or issue body that was given, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule.
    pub code: Code,
    /// The field concerned, as in `model.quantizations[0].source`; `None` for the text as a whole.
    pub field: Option<String>,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Length of the offending text in characters on that line; 0 where something is missing.
    pub length: usize,
    /// The offending text, cut to 120 characters.
    pub text: String,
    /// The source line (a window of it, where it is long), control characters replaced.
    pub excerpt: String,
    /// Column of the finding in `excerpt`, counted from 1.
    pub excerpt_column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}
