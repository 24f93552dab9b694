//! Publishing with a fake Lambda that behaves as documented.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::adapters::fake_aws;
use crate::catalog::testing::GOVERNANCE;
use crate::decide::artifact::types::Key;
use crate::decide::outputs;

const ZIP: &[u8] = b"our zip";
const OTHER_CODE: &str = "other code";

/// A version is pending for a while, and no two versions have the same code.
#[derive(Default)]
struct LambdaApi {
    /// Of `$LATEST`.
    code_sha256: String,
    /// Description, code, and the number of observations until it is at rest.
    versions: Vec<(String, String, u32)>,
    changes: Vec<&'static str>,
    /// The final state of a version, and its reason.
    ends: Option<(&'static str, &'static str)>,
    /// Another update replaces ours.
    is_overtaken: bool,
    /// It stores other bytes than those sent.
    garbles: bool,
}

impl LambdaApi {
    fn answer(&mut self, asked: &str, input: &Value) -> Result<Value, &'static str> {
        let (asked, query) = asked.split_once('?').unwrap_or((asked, ""));
        let (method, path) = asked.split_once(' ').unwrap();
        match (method, path.rsplit('/').next().unwrap()) {
            ("GET", "versions") => {
                let version = |(index, it): (usize, &(String, String, u32))| json!({ "Version": (index + 1).to_string(), "Description": it.0, "CodeSha256": it.1 });
                let versions: Vec<_> = self.versions.iter().enumerate().map(version).collect();
                Ok(json!({ "Versions": versions }))
            }
            ("GET", "configuration") => Ok(self.configuration(query.strip_prefix("Qualifier="))),
            ("PUT", "code") => {
                self.changes.push("update");
                let sent = base64::decode(input["ZipFile"].as_str().unwrap()).unwrap();
                let code = base64::encode(Sha256::digest(sent));
                let stored = if self.garbles {
                    OTHER_CODE.to_owned()
                } else {
                    code
                };
                self.code_sha256.clone_from(&stored);
                if self.is_overtaken {
                    OTHER_CODE.clone_into(&mut self.code_sha256);
                }
                Ok(json!({ "CodeSha256": stored, "LastUpdateStatus": "InProgress" }))
            }
            ("POST", "versions") => {
                self.changes.push("publish");
                if input["CodeSha256"] != json!(self.code_sha256) {
                    return Err("InvalidParameterValueException");
                }
                let same = self.versions.iter().position(|it| it.1 == self.code_sha256);
                let index = same.unwrap_or_else(|| {
                    let description = input["Description"].as_str().unwrap().to_owned();
                    self.versions
                        .push((description, self.code_sha256.clone(), 2));
                    self.versions.len() - 1
                });
                let (description, code, _) = &self.versions[index];
                let number = (index + 1).to_string();
                Ok(json!({ "Version": number, "Description": description, "CodeSha256": code }))
            }
            _ => panic!("{asked}"),
        }
    }

    fn configuration(&mut self, version: Option<&str>) -> Value {
        let Some(version) = version else {
            return json!({
                "State": "Active",
                "LastUpdateStatus": "Successful",
                "CodeSha256": self.code_sha256,
            });
        };
        let (_, _, looks) = &mut self.versions[version.parse::<usize>().unwrap() - 1];
        if *looks > 0 {
            *looks -= 1;
            return json!({ "State": "Pending", "StateReason": "creating" });
        }
        self.changes.push("at rest");
        let (state, reason) = self.ends.unwrap_or(("Active", ""));
        json!({ "State": state, "StateReason": reason, "LastUpdateStatus": "Successful" })
    }
}

fn key() -> String {
    "5".repeat(64)
}

/// The result of publishing our zip, and the calls that it made.
async fn publish(fake: LambdaApi) -> (Result<String>, Vec<&'static str>) {
    let fake = Arc::new(Mutex::new(fake));
    let asked = Arc::clone(&fake);
    let config = fake_aws::config(move |name, input| asked.lock().unwrap().answer(name, &input));
    let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
    let config = config.await;
    let lambda = Lambda::new(&config);
    let function = outputs.function(GOVERNANCE);
    let published = lambda
        .publish_version(function, ZIP.to_vec(), &Key(key()))
        .await;
    let published = published.map(|published| published.version.to_string());
    let changes = fake.lock().unwrap().changes.clone();
    (published, changes)
}

fn ours() -> String {
    base64::encode(Sha256::digest(ZIP))
}

#[tokio::test(start_paused = true)]
async fn a_version_is_published_and_waited_for() {
    let (published, changes) = publish(LambdaApi::default()).await;
    assert_eq!(published.unwrap(), "1");
    assert_eq!(changes, ["update", "publish", "at rest"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_of_an_earlier_run_is_reused() {
    let before = LambdaApi {
        versions: vec![(String::new(), "c2hlbGw=".into(), 0), (key(), ours(), 3)],
        ..LambdaApi::default()
    };
    let (published, changes) = publish(before).await;
    assert_eq!(published.unwrap(), "2");
    assert_eq!(changes, ["at rest"]);
}

#[tokio::test(start_paused = true)]
async fn a_description_alone_does_not_identify_a_version() {
    let forged = LambdaApi {
        versions: vec![(key(), OTHER_CODE.into(), 0)],
        ..LambdaApi::default()
    };
    let (published, changes) = publish(forged).await;
    assert_eq!(published.unwrap(), "2");
    assert_eq!(changes, ["update", "publish", "at rest"]);
}

#[tokio::test(start_paused = true)]
async fn replaced_code_is_not_published() {
    let overtaken = LambdaApi {
        is_overtaken: true,
        ..LambdaApi::default()
    };
    let (published, _) = publish(overtaken).await;
    let error = format!("{:#}", published.unwrap_err());
    assert!(error.contains("InvalidParameterValueException"), "{error}");
    let garbled = LambdaApi {
        garbles: true,
        ..LambdaApi::default()
    };
    let (published, changes) = publish(garbled).await;
    let error = format!("{:#}", published.unwrap_err());
    assert!(error.contains("other code than was sent"), "{error}");
    assert_eq!(changes, ["update"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_with_another_description_is_an_error() {
    let renamed = LambdaApi {
        versions: vec![("by hand".into(), ours(), 0)],
        ..LambdaApi::default()
    };
    let (published, _) = publish(renamed).await;
    let error = published.unwrap_err();
    assert!(error.to_string().contains("another description"), "{error}");
    let hint = crate::failure::of(&error).unwrap().hint.clone().unwrap();
    assert!(hint.contains("--qualifier 1"), "{hint}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_or_stays_pending_is_an_error() {
    let failing = LambdaApi {
        ends: Some(("Failed", "no subnet has an address left")),
        ..LambdaApi::default()
    };
    let (published, _) = publish(failing).await;
    let error = published.unwrap_err().to_string();
    assert!(error.contains("no subnet has an address left"), "{error}");
    let pending = LambdaApi {
        versions: vec![(key(), ours(), u32::MAX)],
        ..LambdaApi::default()
    };
    let (published, _) = publish(pending).await;
    let error = published.unwrap_err().to_string();
    assert!(error.contains("did not end"), "{error}");
}
