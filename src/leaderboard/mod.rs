//! Registry, aggregates, ranks and the leaderboard JSON. Pure: artifacts in, JSON out.
