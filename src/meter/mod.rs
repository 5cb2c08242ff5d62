//! Time, memory, energy and CO₂.
