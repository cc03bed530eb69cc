mod absent;
mod csv_rules;
mod files;
mod json_rules;
mod plans;
mod property;
mod repeated;
mod support;
