//! Axon's settings, from the environment.

use service_kit::settings::{Base, Reader};

use crate::service::SERVICE;

#[derive(Clone, Debug)]
pub struct Settings {
    pub base: Base,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            base: Base::read(reader, SERVICE),
        }
    }
}

impl AsRef<Base> for Settings {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}
