//! Files that come from outside: CSV, JSON, Avro and Parquet, as they are, row by row.
//!
//! A row that is not what the source declares does not stop the others: it is in the output too, with no declared value, and with
//! `_reason` and `_raw` saying why and what. A file that cannot be read at all is an error.

mod absent;
mod arrow_values;
mod avro;
mod cell;
mod chunks;
mod codec;
mod compression;
mod csv;
mod damage;
mod data;
mod decoder;
mod digest;
mod encoding;
mod fingerprint;
mod fixed_width;
mod framing;
mod hive;
mod infer;
mod int96;
mod json;
mod json_value;
mod layout;
mod legacy_calendar;
mod listing;
mod literal;
mod number;
mod parquet;
mod parquet_file;
mod parquet_pieces;
mod pattern;
mod physical;
mod picked;
mod read;
mod repeated;
mod rows;
mod scan;
mod stamp;
mod table_folder;
mod unknown;
mod value;
mod whole;

#[cfg(test)]
mod tests;

pub use codec::{is_own, try_decode, try_encode};
pub use damage::is_decoding;
pub use digest::digests;
pub use fingerprint::{Fingerprint, Known, by_feed, has_digest};
pub use infer::{Proposal, SAMPLE_BYTES, infer};
pub use layout::{FEED, LINE, NOTE, RAW, REASON, SOURCE_FILE, file_source_schema, is_of_rejected_lines, path_columns};
pub use listing::{Listing, SourceFile, list};
pub(crate) use literal::{Misfit, literal_column};
pub(in crate::source) use parquet_file::ObjectReader;
pub use physical::RawFileSource;
pub use rows::ReadOptions;
pub use scan::{RawFiles, ScanOptions, scan};
