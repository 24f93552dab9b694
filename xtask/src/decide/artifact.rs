//! Images and function zips: what decides their bytes, how they are packed, what is inside.

pub mod archive;
pub mod compilation;
pub mod context;
pub mod image;
pub mod provenance;
pub mod referrer;
pub mod sbom;
pub mod scan;
