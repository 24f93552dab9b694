//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

mod alarms;
mod blackout;
mod interference;
mod locking;
mod refusals;
mod resilience;
mod rolling_back;
mod success;
