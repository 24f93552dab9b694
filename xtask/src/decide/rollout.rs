//! One service or function, from "updated" to an outcome.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionState;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedTask;
