//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

mod alarms;
mod interference;
mod refusals;
mod resilience;
mod rolling_back;
mod success;
