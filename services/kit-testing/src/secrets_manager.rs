//! A stub of Secrets Manager and KMS (AWS JSON 1.1) at one address. Its "encryption" is base64,
//! but it checks the encryption context as KMS does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::response::Response;
use serde_json::{Value, json};

use crate::stub::{StubCall, StubServer, answer};

#[derive(Clone)]
pub struct SecretsManagerStub {
    pub server: StubServer,
    /// Version and text by ARN.
    secrets: Arc<Mutex<BTreeMap<String, (u32, String)>>>,
}

impl SecretsManagerStub {
    pub async fn start() -> Self {
        let secrets = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = Arc::clone(&secrets);
        let server = StubServer::start(move |call| {
            let request: Value = serde_json::from_slice(&call.body).unwrap();
            Some(match target(call) {
                "secretsmanager.GetSecretValue" => get_secret_value(&shared, &request),
                "TrentService.Decrypt" => decrypt(&request),
                other => unreachable!("{other}"),
            })
        })
        .await;
        Self { server, secrets }
    }

    /// Stores a new version of the secret.
    pub fn put(&self, arn: &str, text: &str) {
        let mut secrets = self.secrets.lock().unwrap();
        let version = secrets.get(arn).map_or(1, |(version, _)| version + 1);
        secrets.insert(arn.to_owned(), (version, text.to_owned()));
    }

    /// From now on reading it fails.
    pub fn remove(&self, arn: &str) {
        self.secrets.lock().unwrap().remove(arn);
    }

    /// The requests of one operation.
    pub fn requests_of(&self, operation: &str) -> Vec<Value> {
        let calls = self.server.calls();
        let of_it = calls
            .iter()
            .filter(|call| target(call).ends_with(operation));
        of_it
            .map(|call| serde_json::from_slice(&call.body).unwrap())
            .collect()
    }

    /// The environment variables with which the SDK calls this stub.
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

fn get_secret_value(secrets: &Mutex<BTreeMap<String, (u32, String)>>, request: &Value) -> Response {
    let arn = request["SecretId"].as_str().unwrap();
    match secrets.lock().unwrap().get(arn) {
        Some((version, text)) => json_answer(
            200,
            &json!({ "ARN": arn, "VersionId": format!("version-{version}"), "SecretString": text }),
        ),
        None => json_answer(400, &json!({ "__type": "ResourceNotFoundException" })),
    }
}

/// A setting whose value is the ciphertext of `text` for a service.
pub fn ciphertext(service: &str, text: &str) -> String {
    let ciphertext = format!("{service}/{text}");
    format!("kms:{}", aws_smithy_types::base64::encode(ciphertext))
}

fn decrypt(request: &Value) -> Response {
    let ciphertext = request["CiphertextBlob"].as_str().unwrap();
    let ciphertext = aws_smithy_types::base64::decode(ciphertext).unwrap();
    let ciphertext = String::from_utf8(ciphertext).unwrap();
    let (service, text) = ciphertext.split_once('/').unwrap();
    if request["EncryptionContext"] != json!({ "service": service }) {
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
