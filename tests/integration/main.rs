//! Promises that hold across rooms.
