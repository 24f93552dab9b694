//! The ledger: one item of the environment's table for each record, and one for the lock. Every
//! read is strongly consistent and every write is conditional; what changes together is one
//! transaction.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValue, TransactWriteItem,
};

use super::aws::{explain, is_code};
use crate::decide::environment::Environment;
use crate::decide::release::hold::Hold;
use crate::decide::release::lock::Lock;
use crate::decide::release::record::{RECORD_BYTES_MAX, Record, RecordKind};
use crate::failure::{Failure, Kind};
use crate::ports::{Ledger, Opening};

/// The keys of the table, and the kinds of its items.
const KIND: &str = "kind";
const NUMBER: &str = "number";
const RELEASE: &str = "release";
const LOCK: &str = "lock";
const HOLD: &str = "hold";
/// The record, or the lock, as JSON.
const DOCUMENT: &str = "document";
/// Of the lock.
const TOKEN: &str = "token";
const BEAT: &str = "beat";
/// The condition that the lock is a holder's.
const IS_HELD: &str = "#token = :token";

/// An item of the table, or a part of one.
type Attributes = HashMap<String, AttributeValue>;

/// A transaction that was not carried out since another one is about the same item. It may be
/// tried again.
const CONFLICTS: [&str; 3] = [
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
];

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
}

#[async_trait]
impl Ledger for ReleasesTable {
    /// `None` too where there is no table yet: Terraform makes it.
    async fn newest(&self) -> Result<Option<Record>> {
        let query = self.client.query().table_name(&self.name);
        let found = query
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", KIND)
            .expression_attribute_values(":kind", text(RELEASE))
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
        let found = self.get(RELEASE, number).await;
        let found = found.with_context(|| format!("read record {number} of the ledger"))?;
        found.as_ref().map(parse).transpose()
    }

    async fn records(&self) -> Result<Vec<Record>> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", KIND)
            .expression_attribute_values(":kind", text(RELEASE))
            .scan_index_forward(false)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut records = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(explain).context("read the ledger")?;
            records.push(parse(&item)?);
        }
        Ok(records)
    }

    async fn remove(&self, token: &str, numbers: &[u64]) -> Result<bool> {
        let mut items = vec![self.ours(token)?];
        for number in numbers {
            let delete = Delete::builder().table_name(&self.name);
            let delete = delete.set_key(Some(key(RELEASE, *number))).build()?;
            items.push(TransactWriteItem::builder().delete(delete).build());
        }
        self.transact(items, "remove records from").await
    }

    async fn lock(&self) -> Result<Option<Lock>> {
        let found = self.get(LOCK, 0).await.context("read the lock")?;
        found.as_ref().map(parse_lock).transpose()
    }

    async fn open(&self, opening: &Opening<'_>) -> Result<bool> {
        let Opening {
            record,
            over,
            abandoned,
        } = *opening;
        let taken = Put::builder()
            .table_name(&self.name)
            .set_item(Some(lock_item(&Lock::of(record))?));
        let taken = match over {
            None => taken
                .condition_expression("attribute_not_exists(#kind)")
                .expression_attribute_names("#kind", KIND),
            Some(over) => taken
                .condition_expression("#token = :token AND #beat = :beat")
                .expression_attribute_names("#token", TOKEN)
                .expression_attribute_names("#beat", BEAT)
                .expression_attribute_values(":token", text(&over.token))
                .expression_attribute_values(":beat", number(over.beat)),
        };
        let created = self
            .put(record)?
            .condition_expression("attribute_not_exists(#kind)")
            .expression_attribute_names("#kind", KIND);
        let mut items = vec![
            TransactWriteItem::builder().put(taken.build()?).build(),
            TransactWriteItem::builder().put(created.build()?).build(),
        ];
        if record.kind == RecordKind::Release {
            let not_held = ConditionCheck::builder()
                .table_name(&self.name)
                .set_key(Some(key(HOLD, 0)))
                .condition_expression("attribute_not_exists(#kind)")
                .expression_attribute_names("#kind", KIND)
                .build()?;
            let item = TransactWriteItem::builder().condition_check(not_held);
            items.push(item.build());
        }
        if let Some(abandoned) = abandoned {
            let ended = self.put(abandoned)?.build()?;
            items.push(TransactWriteItem::builder().put(ended).build());
        }
        self.transact(items, &written_as(record)).await
    }

    async fn beat(&self, token: &str, beat: u64) -> Result<bool> {
        let (names, values) = is_held_by(token);
        let update = self.client.update_item().table_name(&self.name);
        let updated = update
            .set_key(Some(key(LOCK, 0)))
            .condition_expression(IS_HELD)
            .update_expression("SET #beat = :beat")
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_names("#beat", BEAT)
            .expression_attribute_values(":beat", number(beat))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(explain(error)).context("renew the lock"),
        }
    }

    async fn write(&self, record: &Record) -> Result<bool> {
        let written = self.put(record)?.build()?;
        let items = vec![
            self.ours(&record.token)?,
            TransactWriteItem::builder().put(written).build(),
        ];
        self.transact(items, &written_as(record)).await
    }

    async fn close(&self, record: &Record, hold: Option<&Hold>) -> Result<bool> {
        let (names, values) = is_held_by(&record.token);
        let freed = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(key(LOCK, 0)))
            .condition_expression(IS_HELD)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        let written = self.put(record)?.build()?;
        let mut items = vec![
            TransactWriteItem::builder().delete(freed).build(),
            TransactWriteItem::builder().put(written).build(),
        ];
        if let Some(hold) = hold {
            let put = Put::builder().table_name(&self.name);
            let put = put.set_item(Some(hold_item(hold)?)).build()?;
            items.push(TransactWriteItem::builder().put(put).build());
        }
        self.transact(items, &written_as(record)).await
    }

    async fn hold(&self) -> Result<Option<Hold>> {
        let found = self.get(HOLD, 0).await.context("read the hold")?;
        found.as_ref().map(parse_hold).transpose()
    }

    async fn set_hold(&self, hold: &Hold) -> Result<bool> {
        let put = self.client.put_item().table_name(&self.name);
        let set = put
            .set_item(Some(hold_item(hold)?))
            .condition_expression("attribute_not_exists(#kind)")
            .expression_attribute_names("#kind", KIND)
            .send()
            .await;
        match set {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(explain(error)).context("hold the environment"),
        }
    }

    async fn lift_hold(&self) -> Result<Option<Hold>> {
        let delete = self.client.delete_item().table_name(&self.name);
        let lifted = delete
            .set_key(Some(key(HOLD, 0)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        let lifted = lifted.map_err(explain).context("lift the hold")?;
        lifted.attributes.as_ref().map(parse_hold).transpose()
    }
}

impl ReleasesTable {
    /// `None` too where there is no table yet.
    async fn get(&self, kind: &str, number: u64) -> Result<Option<Attributes>> {
        let get = self.client.get_item().table_name(&self.name);
        let get = get.set_key(Some(key(kind, number))).consistent_read(true);
        match get.send().await {
            Ok(found) => Ok(found.item),
            Err(error) if is_code(&error, "ResourceNotFoundException") => Ok(None),
            Err(error) => Err(explain(error)),
        }
    }

    fn put(&self, record: &Record) -> Result<aws_sdk_dynamodb::types::builders::PutBuilder> {
        let mut item = key(RELEASE, record.number);
        item.insert(DOCUMENT.to_owned(), text(&to_text(record)?));
        let put = Put::builder().table_name(&self.name);
        Ok(put.set_item(Some(item)))
    }

    /// The part of a transaction by which all of it is carried out only while the lock is held.
    fn ours(&self, token: &str) -> Result<TransactWriteItem> {
        let (names, values) = is_held_by(token);
        let ours = ConditionCheck::builder()
            .table_name(&self.name)
            .set_key(Some(key(LOCK, 0)))
            .condition_expression(IS_HELD)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        Ok(TransactWriteItem::builder().condition_check(ours).build())
    }

    /// `false`: a condition does not hold, and nothing was written.
    async fn transact(&self, items: Vec<TransactWriteItem>, what: &str) -> Result<bool> {
        let transaction = self.client.transact_write_items();
        let sent = transaction.set_transact_items(Some(items)).send().await;
        let Err(error) = sent else {
            return Ok(true);
        };
        let cancelled = error
            .as_service_error()
            .filter(|it| it.is_transaction_canceled_exception());
        let written = || format!("{what} the table {}", self.name);
        let Some(cancelled) = cancelled else {
            return Err(explain(error)).with_context(written);
        };
        let reasons = match cancelled {
            TransactWriteItemsError::TransactionCanceledException(it) => it.cancellation_reasons(),
            _ => &[],
        };
        let codes: Vec<&str> = reasons
            .iter()
            .filter_map(CancellationReason::code)
            .collect();
        if codes.contains(&"ConditionalCheckFailed") {
            return Ok(false);
        }
        if codes.iter().any(|code| CONFLICTS.contains(code)) {
            let text = format!("{}: {}", written(), codes.join(", "));
            return Err(Failure::new(Kind::Unanswered, text).into());
        }
        Err(explain(error)).with_context(written)
    }
}

fn written_as(record: &Record) -> String {
    format!("write record {} into", record.number)
}

/// The names and values of `IS_HELD`, for this token.
fn is_held_by(token: &str) -> (HashMap<String, String>, Attributes) {
    let names = [("#token".to_owned(), TOKEN.to_owned())];
    let values = [(":token".to_owned(), text(token))];
    (names.into(), values.into())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(kind: &str, of: u64) -> Attributes {
    [
        (KIND.to_owned(), text(kind)),
        (NUMBER.to_owned(), number(of)),
    ]
    .into()
}

/// The beat is an attribute of its own, which is raised alone.
fn lock_item(lock: &Lock) -> Result<Attributes> {
    let mut item = key(LOCK, 0);
    item.insert(TOKEN.to_owned(), text(&lock.token));
    item.insert(BEAT.to_owned(), number(lock.beat));
    item.insert(DOCUMENT.to_owned(), text(&serde_json::to_string(lock)?));
    Ok(item)
}

fn hold_item(hold: &Hold) -> Result<Attributes> {
    let mut item = key(HOLD, 0);
    item.insert(DOCUMENT.to_owned(), text(&serde_json::to_string(hold)?));
    Ok(item)
}

fn parse_hold(item: &Attributes) -> Result<Hold> {
    let document = item.get(DOCUMENT).and_then(|it| it.as_s().ok());
    let text = document.context("the hold has no document")?;
    serde_json::from_str(text).context("read the hold")
}

fn parse_lock(item: &Attributes) -> Result<Lock> {
    let document = item.get(DOCUMENT).and_then(|it| it.as_s().ok());
    let beat = item.get(BEAT).and_then(|it| it.as_n().ok());
    let parsed = document.zip(beat).and_then(|(document, beat)| {
        let lock: Lock = serde_json::from_str(document).ok()?;
        let beat = beat.parse().ok()?;
        Some(Lock { beat, ..lock })
    });
    parsed.ok_or_else(|| {
        let text = "the lock of the environment cannot be read: another version of xtask wrote it, \
                    or it was changed by hand";
        Failure::not_ready(text)
            .hint(
                "where no release is in progress, delete the item `lock` of the table of releases",
            )
            .into()
    })
}

fn parse(item: &Attributes) -> Result<Record> {
    let document = item.get(DOCUMENT).and_then(|it| it.as_s().ok());
    let text = document.context("it has no document");
    let parsed = text.and_then(|text| Ok(serde_json::from_str(text)?));
    parsed.map_err(|error| {
        let number = item.get(NUMBER).and_then(|it| it.as_n().ok());
        let number = number.map_or("unknown", String::as_str);
        let text = format!("record {number} of the ledger cannot be read: {error:#}");
        let hint = "a newer version of xtask may have written it: use that one; a record that was \
                    changed by hand is restored from the table's point-in-time recovery";
        Failure::not_ready(text).hint(hint).into()
    })
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
    use crate::failure;

    /// By kind and number.
    type Items = Arc<Mutex<BTreeMap<(String, u64), Value>>>;

    fn place(key: &Value) -> (String, u64) {
        let kind = key["kind"]["S"].as_str().unwrap().to_owned();
        (kind, key["number"]["N"].as_str().unwrap().parse().unwrap())
    }

    /// Whether a condition holds of an item: the three that the ledger has.
    fn holds(write: &Value, item: Option<&Value>) -> bool {
        let of = |name: &str| item.map(|item| &item[name]);
        let wanted = |name: &str| Some(&write["ExpressionAttributeValues"][name]);
        match write["ConditionExpression"].as_str() {
            None => true,
            Some("attribute_not_exists(#kind)") => item.is_none(),
            Some("#token = :token") => of("token") == wanted(":token"),
            Some("#token = :token AND #beat = :beat") => {
                of("token") == wanted(":token") && of("beat") == wanted(":beat")
            }
            Some(other) => panic!("{other}"),
        }
    }

    /// A fake table, and its items.
    async fn ledger() -> (ReleasesTable, Items) {
        let items = Items::default();
        let held = Arc::clone(&items);
        let config = fake_aws::config(move |operation, input| {
            let mut items = held.lock().unwrap();
            match operation {
                "TransactWriteItems" => transact(&mut items, &input),
                "UpdateItem" => {
                    let place = place(&input["Key"]);
                    if !holds(&input, items.get(&place)) {
                        return Err("ConditionalCheckFailedException");
                    }
                    let beat = input["ExpressionAttributeValues"][":beat"].clone();
                    items.get_mut(&place).unwrap()["beat"] = beat;
                    Ok(json!({}))
                }
                "GetItem" => {
                    assert_eq!(input["ConsistentRead"], true);
                    let found = items.get(&place(&input["Key"]));
                    Ok(found.map_or_else(|| json!({}), |item| json!({ "Item": item })))
                }
                "Query" => {
                    let wanted = ["ConsistentRead", "ScanIndexForward", "Limit"];
                    let asked = wanted.map(|field| input[field].clone());
                    assert_eq!(asked, [json!(true), json!(false), json!(1)]);
                    let mut releases = items.iter().filter(|((kind, _), _)| kind == "release");
                    let newest: Vec<_> = releases.next_back().into_iter().collect();
                    let newest: Vec<_> = newest.into_iter().map(|(_, item)| item).collect();
                    Ok(json!({ "Items": newest }))
                }
                "PutItem" => {
                    let place = place(&input["Item"]);
                    if !holds(&input, items.get(&place)) {
                        return Err("ConditionalCheckFailedException");
                    }
                    items.insert(place, input["Item"].clone());
                    Ok(json!({}))
                }
                "DeleteItem" => {
                    let old = items.remove(&place(&input["Key"]));
                    Ok(old.map_or_else(|| json!({}), |old| json!({ "Attributes": old })))
                }
                other => panic!("{other}"),
            }
        });
        let table = ReleasesTable::new(&config.await, &fake_aws::environment());
        (table, items)
    }

    fn transact(
        items: &mut BTreeMap<(String, u64), Value>,
        input: &Value,
    ) -> Result<Value, &'static str> {
        let writes: Vec<(&String, &Value)> = input["TransactItems"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|write| write.as_object().unwrap())
            .collect();
        let place_of = |write: &Value| match write.get("Item") {
            Some(item) => place(item),
            None => place(&write["Key"]),
        };
        for (_, write) in &writes {
            assert_eq!(write["TableName"], "demo-local-releases");
            if !holds(write, items.get(&place_of(write))) {
                return Err("TransactionCanceledException");
            }
        }
        for (kind, write) in writes {
            match kind.as_str() {
                "Put" => drop(items.insert(place_of(write), write["Item"].clone())),
                "Delete" => drop(items.remove(&place_of(write))),
                "ConditionCheck" => {}
                other => panic!("{other}"),
            }
        }
        Ok(json!({}))
    }

    fn record(number: u64) -> Record {
        record::testing::record(number, ReleaseState::InProgress, "a")
    }

    fn opening<'a>(record: &'a Record, over: Option<&'a Lock>) -> Opening<'a> {
        Opening {
            record,
            over,
            abandoned: None,
        }
    }

    #[tokio::test]
    async fn the_lock_and_the_record_come_and_go_together() {
        let (ledger, _) = ledger().await;
        assert_eq!(ledger.newest().await.unwrap(), None);
        for number in 1..=12 {
            let mine = record(number);
            assert!(ledger.open(&opening(&mine, None)).await.unwrap());
            assert_eq!(ledger.newest().await.unwrap(), Some(mine.clone()));
            assert_eq!(ledger.lock().await.unwrap(), Some(Lock::of(&mine)));
            let ended = Record {
                state: ReleaseState::Succeeded,
                ..mine
            };
            assert!(ledger.close(&ended, None).await.unwrap());
            assert_eq!(ledger.lock().await.unwrap(), None);
            assert_eq!(ledger.read(number).await.unwrap(), Some(ended));
        }
        assert_eq!(ledger.read(13).await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_does_not_hold_the_lock_writes_nothing() {
        let (ledger, items) = ledger().await;
        let mine = record(1);
        assert!(ledger.open(&opening(&mine, None)).await.unwrap());
        let before = items.lock().unwrap().clone();
        let other = record(2);
        assert!(!ledger.open(&opening(&other, None)).await.unwrap());
        assert!(!ledger.write(&other).await.unwrap());
        assert!(!ledger.close(&other, None).await.unwrap());
        assert!(!ledger.beat(&other.token, 5).await.unwrap());
        assert_eq!(*items.lock().unwrap(), before);
        assert!(ledger.write(&mine).await.unwrap());
        assert!(ledger.beat(&mine.token, 5).await.unwrap());
        assert_eq!(ledger.lock().await.unwrap().unwrap().beat, 5);
    }

    #[tokio::test]
    async fn a_lock_is_taken_over_on_the_very_beat_that_was_seen() {
        let (ledger, _) = ledger().await;
        let (mine, other) = (record(1), record(2));
        assert!(ledger.open(&opening(&mine, None)).await.unwrap());
        let seen = ledger.lock().await.unwrap().unwrap();
        assert!(ledger.beat(&mine.token, 1).await.unwrap());
        assert!(!ledger.open(&opening(&other, Some(&seen))).await.unwrap());
        let seen = ledger.lock().await.unwrap().unwrap();
        let abandoned = mine.clone().abandoned(mine.opened);
        let taking = Opening {
            abandoned: Some(&abandoned),
            ..opening(&other, Some(&seen))
        };
        assert!(ledger.open(&taking).await.unwrap());
        assert_eq!(ledger.read(1).await.unwrap(), Some(abandoned));
        assert!(!ledger.close(&mine, None).await.unwrap());
        assert!(ledger.close(&other, None).await.unwrap());
    }

    #[tokio::test]
    async fn a_hold_keeps_releases_out_and_rollbacks_not() {
        let (ledger, _) = ledger().await;
        let hold = Hold {
            who: "ada".to_owned(),
            host: "laptop".to_owned(),
            why: "a freeze".to_owned(),
            since: record(1).opened,
        };
        assert!(ledger.set_hold(&hold).await.unwrap());
        assert!(!ledger.set_hold(&hold).await.unwrap());
        assert!(!ledger.open(&opening(&record(1), None)).await.unwrap());
        assert_eq!(ledger.lift_hold().await.unwrap(), Some(hold.clone()));
        assert_eq!(ledger.lift_hold().await.unwrap(), None);
        let rollback = Record {
            kind: RecordKind::Rollback,
            ..record(1)
        };
        assert!(ledger.open(&opening(&rollback, None)).await.unwrap());
        assert!(ledger.close(&rollback, Some(&hold)).await.unwrap());
        assert_eq!(ledger.hold().await.unwrap(), Some(hold));
        assert!(!ledger.open(&opening(&record(2), None)).await.unwrap());
        let rollback = Record {
            number: 2,
            ..rollback
        };
        assert!(ledger.open(&opening(&rollback, None)).await.unwrap());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named_with_a_remedy() {
        let (ledger, items) = ledger().await;
        let broken = json!({
            "kind": { "S": "release" },
            "number": { "N": "7" },
            "document": { "S": "{\"number\": 7, \"state\": \"of a later version\"}" },
        });
        let lock = json!({ "kind": { "S": "lock" }, "number": { "N": "0" } });
        items.lock().unwrap().insert(place(&broken), broken);
        items.lock().unwrap().insert(place(&lock), lock);
        for (error, named) in [
            (ledger.newest().await.unwrap_err(), "record 7"),
            (ledger.lock().await.unwrap_err(), "the lock"),
        ] {
            let failure = failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::NotReady);
            assert!(failure.message.starts_with(named), "{error:#}");
            assert!(failure.hint.is_some());
        }
    }

    #[tokio::test]
    async fn without_a_table_there_is_no_record_and_other_errors_are_told() {
        let failing = async |code: &'static str| {
            let config = fake_aws::config(move |_, _| Err(code)).await;
            ReleasesTable::new(&config, &fake_aws::environment())
        };
        let none = failing("ResourceNotFoundException").await;
        assert_eq!(none.newest().await.unwrap(), None);
        assert_eq!(none.hold().await.unwrap(), None);
        assert_eq!(none.lock().await.unwrap(), None);
        none.open(&opening(&record(1), None)).await.unwrap_err();
        let denied = failing("AccessDeniedException").await;
        denied.newest().await.unwrap_err();
        denied.hold().await.unwrap_err();
        let error = denied.write(&record(1)).await.unwrap_err();
        let expected = "write record 1 into the table demo-local-releases";
        assert!(error.to_string().contains(expected), "{error:#}");
    }
}
