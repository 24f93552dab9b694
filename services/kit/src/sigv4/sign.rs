//! Signs outgoing requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Request};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex as AsyncMutex;

use super::error::{SignatureSetupError, SigningError};
use super::guard::{region, scope};
use super::keys::{KeyPairs, KeyRing};
use crate::settings::{Base, Reader, Setting, Signatures};
use crate::{Clock, Dependencies};

/// The headers that signing adds. An earlier attempt may have left them.
const ADDED: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-amz-content-sha256"),
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
];

/// Hop-by-hop headers, and headers that proxies rewrite. All others are signed.
const NOT_SIGNED: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Role credentials are renewed this long before they expire: the request has to arrive
/// before that.
const EXPIRY_MARGIN: Duration = Duration::from_mins(1);

/// Who verifies the signature of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedFor {
    /// The service of this name itself, with the key pairs that both sides have.
    Service(&'static str),
    /// API Gateway in front of the service, by the caller's task role.
    ApiGateway,
    /// VPC Lattice in front of the service, by the caller's task role.
    VpcLattice,
    /// The API of Lambda, by the caller's task role.
    Lambda,
}

impl SignedFor {
    /// Reads a setting such as `<TARGET>_SIGNED_FOR`, a choice: the target's name, which is the
    /// default, or AWS's signing name of the service that verifies.
    pub fn read(reader: &mut Reader<'_>, setting: &Setting, target: &'static str) -> Self {
        let text: Option<String> = reader.parsed(setting);
        let verifiers = [Self::ApiGateway, Self::VpcLattice].into_iter();
        let found = { verifiers }.find(|it| Some(it.signing_name()) == text.as_deref());
        found.unwrap_or(Self::Service(target))
    }

    /// Which keys sign for this verifier.
    pub fn signatures(self) -> Signatures {
        match self {
            Self::Service(_) => Signatures::ByPairs,
            Self::ApiGateway | Self::VpcLattice | Self::Lambda => Signatures::ByRole,
        }
    }

    /// The service in the scope of the signature.
    fn signing_name(self) -> &'static str {
        match self {
            Self::Service(name) => name,
            Self::ApiGateway => "execute-api",
            Self::VpcLattice => "vpc-lattice-svcs",
            Self::Lambda => "lambda",
        }
    }
}

/// Signs the calls of one target. Clones share keys and credentials.
#[derive(Clone)]
pub struct Signer {
    source: IdentitySource,
    signed_for: SignedFor,
    region: String,
    clock: Clock,
}

/// Where the signing identity comes from. It is cached and not made for each call.
#[derive(Clone)]
enum IdentitySource {
    Ring(Arc<RingIdentity>),
    Role(Arc<RoleIdentity>),
}

/// The current pair of a ring, and the identity of the pair that was used last.
struct RingIdentity {
    keys: KeyRing,
    known: Mutex<Option<(Arc<KeyPairs>, Identity)>>,
}

/// Cached, because the provider calls ECS each time.
struct RoleIdentity {
    provider: SharedCredentialsProvider,
    known: AsyncMutex<Option<Identity>>,
}

impl Signer {
    /// The signer that the settings require; `None` where signatures are off.
    pub fn new(
        signed_for: SignedFor,
        base: &Base,
        dependencies: &Dependencies,
    ) -> Result<Option<Self>, SignatureSetupError> {
        if base.signatures == Signatures::Off {
            return Ok(None);
        }
        let clock = dependencies.clock.clone();
        if let SignedFor::Service(name) = signed_for {
            let (keys, region) = scope(base, dependencies)?;
            return Ok(Some(Self::with_keys(keys, name, region, clock)));
        }
        let region = region(base)?;
        let role = dependencies.aws.credentials();
        Ok(Some(Self::with_role(role, signed_for, region, clock)))
    }

    pub fn with_keys(keys: KeyRing, service: &'static str, region: String, clock: Clock) -> Self {
        let known = Mutex::default();
        Self {
            source: IdentitySource::Ring(Arc::new(RingIdentity { keys, known })),
            signed_for: SignedFor::Service(service),
            region,
            clock,
        }
    }

    pub fn with_role(
        provider: SharedCredentialsProvider,
        signed_for: SignedFor,
        region: String,
        clock: Clock,
    ) -> Self {
        let known = AsyncMutex::default();
        Self {
            source: IdentitySource::Role(Arc::new(RoleIdentity { provider, known })),
            signed_for,
            region,
            clock,
        }
    }

    /// Replaces the signature of an earlier attempt.
    pub async fn sign(&self, request: &mut Request<Bytes>) -> Result<(), SigningError> {
        for name in ADDED {
            request.headers_mut().remove(name);
        }
        let now = SystemTime::from(self.clock.now());
        let identity = self.source.identity(now).await?;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.signed_for.signing_name())
            .time(now)
            .settings(self.settings())
            .build()
            .map_err(|error| SigningError::Signing(error.into()))?;
        let headers = signed_headers(request.headers())?;
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers.into_iter(),
            self.body(request.body()),
        )
        .map_err(|error| SigningError::Signing(error.into()))?;
        let (instructions, _) = sign(signable, &SigningParams::V4(parameters))
            .map_err(|error| SigningError::Signing(error.into()))?
            .into_parts();
        instructions.apply_to_request_http1x(request);
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        Ok(())
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        // `signed_headers` has filtered them already.
        settings.excluded_headers = None;
        if self.signed_for == SignedFor::VpcLattice {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }

    /// VPC Lattice does not verify payloads, and requires `UNSIGNED-PAYLOAD`
    /// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/sigv4-authenticated-requests.html>).
    fn body<'a>(&self, body: &'a [u8]) -> SignableBody<'a> {
        match self.signed_for {
            SignedFor::VpcLattice => SignableBody::UnsignedPayload,
            SignedFor::Service(_) | SignedFor::ApiGateway | SignedFor::Lambda => {
                SignableBody::Bytes(body)
            }
        }
    }
}

impl IdentitySource {
    async fn identity(&self, now: SystemTime) -> Result<Identity, SigningError> {
        match self {
            Self::Ring(ring) => Ok(ring.identity()),
            Self::Role(role) => role.identity(now).await,
        }
    }
}

impl RingIdentity {
    fn identity(&self) -> Identity {
        let pairs = self.keys.pairs();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, identity)) = known.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &pairs)) {
            return identity.clone();
        }
        let pair = &pairs.current;
        let secret = pair.secret_access_key.expose_secret();
        let credentials = Credentials::new(&*pair.access_key_id, secret, None, None, "secret");
        let identity = Identity::from(credentials);
        *known = Some((pairs, identity.clone()));
        identity
    }
}

impl RoleIdentity {
    async fn identity(&self, now: SystemTime) -> Result<Identity, SigningError> {
        let mut known = self.known.lock().await;
        let lasts = |it: &&Identity| it.expiration().is_none_or(|end| end > now + EXPIRY_MARGIN);
        if let Some(identity) = known.as_ref().filter(lasts) {
            return Ok(identity.clone());
        }
        let fresh = self.provider.provide_credentials().await;
        let fresh = fresh.map_err(SigningError::Credentials)?;
        Ok(known.insert(fresh.into()).clone())
    }
}

/// The headers to sign. An error where one is not text, so that it is not sent unsigned.
fn signed_headers(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, SigningError> {
    let signed = headers
        .iter()
        .filter(|(name, _)| !NOT_SIGNED.contains(&name.as_str()));
    let pairs = signed.map(|(name, value)| {
        let text = value.to_str();
        text.map(|text| (name.as_str(), text))
            .map_err(|error| SigningError::Signing(error.into()))
    });
    pairs.collect()
}
