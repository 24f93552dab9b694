//! `deploy`: from the checkout to an answered dispatch, or back to where it was.

mod alarms;
mod interference;
mod landing;
mod refusals;
mod resilience;
mod taking_back;
