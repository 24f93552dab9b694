//! The ledger: one item of the environment's table for each record. Only its creation is
//! conditional, which is sufficient for a lock, and every read is strongly consistent.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::aws::{explain, is_code};
use crate::decide::environment::Environment;
use crate::decide::release::record::{RECORD_BYTES_MAX, Record};
use crate::ports::Ledger;

/// The keys of the table, and the kind of its items that are records.
const KIND: &str = "kind";
const NUMBER: &str = "number";
const RELEASE: &str = "release";
/// The record as JSON.
const DOCUMENT: &str = "document";

pub struct ReleasesTable {
    client: Client,
    name: String,
}

impl ReleasesTable {
    pub fn new(config: &aws_config::SdkConfig, environment: &Environment) -> Self {
        Self {
            client: Client::new(config),
            name: environment.releases_table(),
        }
    }

    fn put(&self, record: &Record) -> Result<PutItemFluentBuilder> {
        let text = to_text(record)?;
        let put = self.client.put_item().table_name(&self.name);
        Ok(put
            .item(KIND, AttributeValue::S(RELEASE.to_owned()))
            .item(NUMBER, AttributeValue::N(record.number.to_string()))
            .item(DOCUMENT, AttributeValue::S(text)))
    }
}

#[async_trait]
impl Ledger for ReleasesTable {
    /// `None` too where there is no table yet: Terraform makes it.
    async fn newest(&self) -> Result<Option<Record>> {
        let query = self.client.query().table_name(&self.name);
        let found = query
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", KIND)
            .expression_attribute_values(":kind", AttributeValue::S(RELEASE.to_owned()))
            .scan_index_forward(false)
            .limit(1)
            .consistent_read(true)
            .send()
            .await;
        match found {
            Ok(found) => found.items().first().map(parse).transpose(),
            Err(error) if is_code(&error, "ResourceNotFoundException") => Ok(None),
            Err(error) => Err(explain(error)).context("read the ledger"),
        }
    }

    async fn read(&self, number: u64) -> Result<Option<Record>> {
        let get = self.client.get_item().table_name(&self.name);
        let found = get
            .key(KIND, AttributeValue::S(RELEASE.to_owned()))
            .key(NUMBER, AttributeValue::N(number.to_string()))
            .consistent_read(true)
            .send()
            .await;
        let found = found
            .map_err(explain)
            .with_context(|| format!("read record {number} of the ledger"))?;
        found.item.as_ref().map(parse).transpose()
    }

    async fn create(&self, record: &Record) -> Result<bool> {
        let put = self
            .put(record)?
            .condition_expression("attribute_not_exists(#kind)")
            .expression_attribute_names("#kind", KIND)
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(explain(error)).with_context(|| self.written(record)),
        }
    }

    async fn overwrite(&self, record: &Record) -> Result<()> {
        let put = self.put(record)?.send().await;
        put.map_err(explain).with_context(|| self.written(record))?;
        Ok(())
    }
}

impl ReleasesTable {
    fn written(&self, record: &Record) -> String {
        format!(
            "write record {} into the table {}",
            record.number, self.name
        )
    }
}

fn parse(item: &HashMap<String, AttributeValue>) -> Result<Record> {
    let document = item.get(DOCUMENT).and_then(|it| it.as_s().ok());
    let text = document.context("a record of the ledger has no document")?;
    serde_json::from_str(text).context("read a record of the ledger")
}

fn to_text(record: &Record) -> Result<String> {
    let text = serde_json::to_string(record)?;
    ensure!(
        text.len() <= RECORD_BYTES_MAX,
        "record {} has {} bytes, the limit is {RECORD_BYTES_MAX}",
        record.number,
        text.len()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::fake_aws;
    use crate::decide::release::record::{self, ReleaseState};

    type Items = Arc<Mutex<BTreeMap<u64, Value>>>;

    /// A table with this key of a record and of nothing else.
    fn number(key: &Value) -> u64 {
        assert_eq!(key["kind"], json!({ "S": "release" }));
        key["number"]["N"].as_str().unwrap().parse().unwrap()
    }

    /// A fake table, and its items.
    async fn ledger() -> (ReleasesTable, Items) {
        let items = Items::default();
        let held = Arc::clone(&items);
        let config = fake_aws::config(move |operation, input| {
            assert_eq!(input["TableName"], "demo-local-releases");
            let mut held = held.lock().unwrap();
            match operation {
                "PutItem" => {
                    let number = number(&input["Item"]);
                    if held.contains_key(&number) && input.get("ConditionExpression").is_some() {
                        return Err("ConditionalCheckFailedException");
                    }
                    held.insert(number, input["Item"].clone());
                    Ok(json!({}))
                }
                "GetItem" => {
                    assert_eq!(input["ConsistentRead"], true);
                    let found = held.get(&number(&input["Key"]));
                    Ok(found.map_or_else(|| json!({}), |item| json!({ "Item": item })))
                }
                "Query" => {
                    let wanted = ["ConsistentRead", "ScanIndexForward", "Limit"];
                    let asked = wanted.map(|field| input[field].clone());
                    assert_eq!(asked, [json!(true), json!(false), json!(1)]);
                    let newest: Vec<_> = held.values().next_back().into_iter().collect();
                    Ok(json!({ "Items": newest }))
                }
                other => panic!("{other}"),
            }
        });
        let table = ReleasesTable::new(&config.await, &fake_aws::environment());
        (table, items)
    }

    fn record(number: u64) -> Record {
        record::testing::record(number, ReleaseState::Succeeded, "a")
    }

    #[tokio::test]
    async fn the_newest_record_is_the_one_with_the_highest_number() {
        let (ledger, items) = ledger().await;
        assert_eq!(ledger.newest().await.unwrap(), None);
        for number in 1..=12 {
            assert!(ledger.create(&record(number)).await.unwrap());
            assert_eq!(ledger.newest().await.unwrap(), Some(record(number)));
        }
        assert_eq!(ledger.read(3).await.unwrap(), Some(record(3)));
        assert_eq!(ledger.read(13).await.unwrap(), None);
        // Where somebody deleted records, an earlier one is the newest.
        items.lock().unwrap().retain(|number, _| *number < 7);
        assert_eq!(ledger.newest().await.unwrap(), Some(record(6)));
    }

    #[tokio::test]
    async fn a_record_is_created_once_and_overwritten_by_who_opened_it() {
        let (ledger, _) = ledger().await;
        assert!(ledger.create(&record(1)).await.unwrap());
        let other = Record {
            who: "grace".to_owned(),
            ..record(1)
        };
        assert!(!ledger.create(&other).await.unwrap());
        assert_eq!(ledger.read(1).await.unwrap(), Some(record(1)));
        ledger.overwrite(&other).await.unwrap();
        assert_eq!(ledger.read(1).await.unwrap(), Some(other));
    }

    #[tokio::test]
    async fn without_a_table_there_is_no_record_and_other_errors_are_told() {
        let failing = async |code: &'static str| {
            let config = fake_aws::config(move |_, _| Err(code)).await;
            ReleasesTable::new(&config, &fake_aws::environment())
        };
        let none = failing("ResourceNotFoundException").await;
        assert_eq!(none.newest().await.unwrap(), None);
        none.create(&record(1)).await.unwrap_err();
        let denied = failing("AccessDeniedException").await;
        denied.newest().await.unwrap_err();
        let error = denied.create(&record(1)).await.unwrap_err();
        let expected = "write record 1 into the table demo-local-releases";
        assert!(error.to_string().contains(expected), "{error:#}");
    }
}
