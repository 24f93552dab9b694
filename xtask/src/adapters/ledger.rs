//! The ledger: one SSM parameter a release. Creating without overwriting is the only thing that
//! SSM does atomically, and it is all that a lock needs.
//!
//! The parameter `newest` is a hint that makes finding the newest record cost the same however
//! long the ledger is; what counts is which numbers exist.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterType;

use super::aws::{explain, is_code};
use crate::decide::environment::Environment;
use crate::decide::release::{RECORD_BYTES_MAX, Record};
use crate::world::Ledger;

/// `GetParameters` takes so many names at most.
const NAMES_MAX: u64 = 10;

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

    /// The records from a number on, as far as they exist, `NAMES_MAX` at most.
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
                return Ok(newest);
            }
            number += NAMES_MAX;
        }
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
        "the record of release {} has {} bytes, the ledger takes {RECORD_BYTES_MAX}",
        record.number,
        text.len()
    );
    Ok(text)
}
