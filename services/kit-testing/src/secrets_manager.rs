//! Stands in for Secrets Manager and KMS, which speak JSON 1.1 at one address. Its secrets may
//! change; what it encrypts is no secret, but it keeps KMS's rule of the encryption context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::response::Response;
use serde_json::{Value, json};

use crate::stub::{StubCall, StubServer, answer};

#[derive(Clone)]
pub struct SecretsManager {
    pub server: StubServer,
    /// Version and text by ARN. What is not there cannot be read.
    secrets: Arc<Mutex<BTreeMap<String, (u32, String)>>>,
}

impl SecretsManager {
    pub async fn start() -> Self {
        let secrets = Arc::new(Mutex::new(BTreeMap::new()));
        let held = Arc::clone(&secrets);
        let server = StubServer::start(move |call| {
            let question: Value = serde_json::from_slice(&call.body).unwrap();
            Some(match target(call) {
                "secretsmanager.GetSecretValue" => get_secret_value(&held, &question),
                "TrentService.Decrypt" => decrypt(&question),
                other => unreachable!("{other}"),
            })
        })
        .await;
        Self { server, secrets }
    }

    /// A new version of the secret.
    pub fn put(&self, arn: &str, text: &str) {
        let mut secrets = self.secrets.lock().unwrap();
        let version = secrets.get(arn).map_or(1, |(version, _)| version + 1);
        secrets.insert(arn.to_owned(), (version, text.to_owned()));
    }

    /// From now on it cannot be read.
    pub fn remove(&self, arn: &str) {
        self.secrets.lock().unwrap().remove(arn);
    }

    /// What the operations were asked that have this name.
    pub fn asked(&self, operation: &str) -> Vec<Value> {
        let calls = self.server.calls();
        let of_it = calls
            .iter()
            .filter(|call| target(call).ends_with(operation));
        of_it
            .map(|call| serde_json::from_slice(&call.body).unwrap())
            .collect()
    }

    /// How the SDK finds this.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        [
            ("AWS_ENDPOINT_URL", self.server.url("")),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
        .into()
    }
}

fn target(call: &StubCall) -> &str {
    call.headers["x-amz-target"].to_str().unwrap()
}

fn get_secret_value(
    secrets: &Mutex<BTreeMap<String, (u32, String)>>,
    question: &Value,
) -> Response {
    let arn = question["SecretId"].as_str().unwrap();
    match secrets.lock().unwrap().get(arn) {
        Some((version, text)) => json_answer(
            200,
            &json!({ "ARN": arn, "VersionId": format!("version-{version}"), "SecretString": text }),
        ),
        None => json_answer(400, &json!({ "__type": "ResourceNotFoundException" })),
    }
}

/// The ciphertext of a text for a service, as a setting has it.
pub fn ciphertext(service: &str, text: &str) -> String {
    let ciphertext = format!("{service}/{text}");
    format!("kms:{}", aws_smithy_types::base64::encode(ciphertext))
}

fn decrypt(question: &Value) -> Response {
    let ciphertext = question["CiphertextBlob"].as_str().unwrap();
    let ciphertext = aws_smithy_types::base64::decode(ciphertext).unwrap();
    let ciphertext = String::from_utf8(ciphertext).unwrap();
    let (service, text) = ciphertext.split_once('/').unwrap();
    if question["EncryptionContext"] != json!({ "service": service }) {
        return json_answer(400, &json!({ "__type": "InvalidCiphertextException" }));
    }
    let plaintext = aws_smithy_types::base64::encode(text);
    json_answer(200, &json!({ "KeyId": "a-key", "Plaintext": plaintext }))
}

fn json_answer(status: u16, body: &Value) -> Response {
    let mut response = answer(status, "");
    *response.body_mut() = body.to_string().into();
    let json = "application/x-amz-json-1.1".parse().unwrap();
    response.headers_mut().insert("content-type", json);
    response
}
