//! Images and function zips: their content key, how they are compiled and packed, and the documents
//! about them. `types` has what the files of this room and `definition` share, and imports none of
//! them.

pub mod archive;
pub mod compilation;
pub mod contents;
pub mod context;
pub mod image;
pub mod linked_libc;
pub mod provenance;
pub mod referrer;
pub mod sbom;
pub mod scan;
pub mod types;
pub mod workspace;
