//! The ledger: one SSM parameter for each release. Creating a parameter without overwriting is the
//! only atomic operation of SSM, and sufficient for a lock.
//!
//! The parameter `newest` is a hint, so that the cost of finding the newest record does not grow
//! with the ledger. The existing numbers are authoritative.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterType;

use super::aws::{explain, is_code};
use crate::decide::environment::Environment;
use crate::decide::release::record::{RECORD_BYTES_MAX, Record};
use crate::failure::Failure;
use crate::ports::Ledger;

/// The limit of names in `GetParameters`.
const NAMES_MAX: u64 = 10;
/// The number of pages that are searched for a record below a missing one.
const PAGES_MAX: u32 = 100;

pub struct Ssm {
    client: Client,
    path: String,
}

impl Ssm {
    pub fn new(config: &aws_config::SdkConfig, environment: &Environment) -> Self {
        Self {
            client: Client::new(config),
            path: environment.ledger_path(),
        }
    }

    fn name(&self, number: u64) -> String {
        format!("{}/{number}", self.path)
    }

    async fn get(&self, names: Vec<String>) -> Result<BTreeMap<String, String>> {
        let found = self
            .client
            .get_parameters()
            .set_names(Some(names))
            .send()
            .await
            .map_err(explain)
            .context("read the ledger")?;
        let pair = |parameter: &aws_sdk_ssm::types::Parameter| {
            Some((parameter.name()?.to_owned(), parameter.value()?.to_owned()))
        };
        Ok(found.parameters().iter().filter_map(pair).collect())
    }

    /// The consecutive records from a number on, at most `NAMES_MAX`.
    async fn records_from(&self, number: u64) -> Result<Vec<Record>> {
        let names = (number..number + NAMES_MAX)
            .map(|number| self.name(number))
            .collect();
        let found = self.get(names).await?;
        (number..number + NAMES_MAX)
            .map_while(|number| found.get(&self.name(number)))
            .map(|text| parse(text))
            .collect()
    }

    /// The newest record below a number.
    async fn newest_below(&self, number: u64) -> Result<Option<Record>> {
        let mut end = number;
        for _ in 0..PAGES_MAX {
            let start = end.saturating_sub(NAMES_MAX).max(1);
            let found = self.get((start..end).map(|number| self.name(number)).collect());
            let found = found.await?;
            let newest = (start..end).rev().find_map(|it| found.get(&self.name(it)));
            if newest.is_some() || start == 1 {
                return newest.map(|text| parse(text)).transpose();
            }
            end = start;
        }
        Err(Failure::not_ready(format!(
            "{}/newest is {number}, but there is no record near it",
            self.path
        ))
        .hint("set that parameter to the number of the newest record")
        .into())
    }

    async fn put(&self, name: String, value: String, overwrite: bool) -> Result<bool> {
        let put = self
            .client
            .put_parameter()
            .name(&name)
            .value(value)
            .r#type(ParameterType::String)
            .overwrite(overwrite)
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "ParameterAlreadyExists") => Ok(false),
            // Two processes create it at once; the next read shows which one succeeded.
            Err(error) if !overwrite && is_code(&error, "TooManyUpdates") => Ok(false),
            Err(error) => Err(explain(error)).with_context(|| format!("write {name}")),
        }
    }
}

#[async_trait]
impl Ledger for Ssm {
    async fn newest(&self) -> Result<Option<Record>> {
        let hint = format!("{}/newest", self.path);
        let hints = self.get(vec![hint.clone()]).await?;
        let mut number = hints
            .get(&hint)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1);
        let mut newest = None;
        loop {
            let records = self.records_from(number).await?;
            let full = records.len() as u64 == NAMES_MAX;
            newest = records.into_iter().next_back().or(newest);
            if !full {
                break;
            }
            number += NAMES_MAX;
        }
        // The record of the hint was deleted; look for earlier ones.
        if newest.is_none() && number > 1 {
            newest = self.newest_below(number).await?;
        }
        Ok(newest)
    }

    async fn read(&self, number: u64) -> Result<Option<Record>> {
        let name = self.name(number);
        let found = self.get(vec![name.clone()]).await?;
        found.get(&name).map(|text| parse(text)).transpose()
    }

    async fn create(&self, record: &Record) -> Result<bool> {
        let created = self
            .put(self.name(record.number), to_text(record)?, false)
            .await?;
        if created {
            self.put(
                format!("{}/newest", self.path),
                record.number.to_string(),
                true,
            )
            .await?;
        }
        Ok(created)
    }

    async fn overwrite(&self, record: &Record) -> Result<()> {
        self.put(self.name(record.number), to_text(record)?, true)
            .await?;
        Ok(())
    }
}

fn parse(text: &str) -> Result<Record> {
    serde_json::from_str(text).context("read a record of the ledger")
}

fn to_text(record: &Record) -> Result<String> {
    let text = serde_json::to_string(record)?;
    ensure!(
        text.len() <= RECORD_BYTES_MAX,
        "the record of release {} has {} bytes, the limit is {RECORD_BYTES_MAX}",
        record.number,
        text.len()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::fake_aws;
    use crate::decide::release::record::{self, ReleaseState};

    type Parameters = Arc<Mutex<BTreeMap<String, String>>>;

    /// A fake SSM and its parameters. `conflict`: the error code of creations.
    async fn ledger(conflict: Option<&'static str>) -> (Ssm, Parameters) {
        let parameters = Parameters::default();
        let held = Arc::clone(&parameters);
        let config = fake_aws::config(move |operation, input| {
            let mut held = held.lock().unwrap();
            if operation == "PutParameter" {
                match conflict {
                    Some(code) if input["Overwrite"] == json!(false) => return Err(code),
                    _ => {}
                }
                let text = |field: &str| input[field].as_str().unwrap().to_owned();
                held.insert(text("Name"), text("Value"));
                return Ok(json!({ "Version": 1 }));
            }
            assert_eq!(operation, "GetParameters");
            let names = input["Names"].as_array().unwrap();
            assert!(names.len() <= 10);
            let found = names.iter().filter_map(|name| {
                let value = held.get(name.as_str().unwrap())?;
                Some(json!({ "Name": name, "Value": value }))
            });
            Ok(json!({ "Parameters": found.collect::<Vec<Value>>() }))
        });
        (
            Ssm::new(&config.await, &fake_aws::environment()),
            parameters,
        )
    }

    fn record(number: u64) -> Record {
        record::testing::record(number, ReleaseState::Succeeded, "a")
    }

    #[tokio::test]
    async fn the_newest_record_is_found_in_a_long_ledger() {
        let (ledger, _) = ledger(None).await;
        assert_eq!(ledger.newest().await.unwrap(), None);
        for number in 1..=23 {
            assert!(ledger.create(&record(number)).await.unwrap());
            let newest = ledger.newest().await.unwrap().unwrap();
            assert_eq!(newest.number, number);
        }
    }

    #[tokio::test]
    async fn a_deleted_record_falls_back_to_the_one_before() {
        let (ledger, parameters) = ledger(None).await;
        for number in 1..=27 {
            ledger.create(&record(number)).await.unwrap();
        }
        let delete = |number: u64| parameters.lock().unwrap().remove(&ledger.name(number));
        for (first, last) in [(27, 27), (12, 26), (1, 11)] {
            for number in first..=last {
                assert!(delete(number).is_some());
            }
            let newest = ledger.newest().await.unwrap();
            let number = newest.map_or(0, |record| record.number);
            assert_eq!(number, first - 1);
        }
        // The next record can be created.
        assert!(ledger.create(&record(1)).await.unwrap());
    }

    #[tokio::test]
    async fn a_wrong_hint_is_an_error() {
        let (ledger, parameters) = ledger(None).await;
        let hint = format!("{}/newest", ledger.path);
        parameters.lock().unwrap().insert(hint, "5000".to_owned());
        let error = ledger.newest().await.unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 12);
        assert!(error.to_string().contains("newest is 5000"), "{error}");
    }

    #[tokio::test]
    async fn a_conflicting_creation_returns_false() {
        for conflict in ["ParameterAlreadyExists", "TooManyUpdates"] {
            let (ledger, _) = ledger(Some(conflict)).await;
            assert!(!ledger.create(&record(1)).await.unwrap(), "{conflict}");
            ledger.overwrite(&record(1)).await.unwrap();
        }
        let (ledger, _) = ledger(Some("AccessDeniedException")).await;
        ledger.create(&record(1)).await.unwrap_err();
    }
}
