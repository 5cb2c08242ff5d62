//! Issue body to YAML to a checked submission; every finding with line, column and what to do.
