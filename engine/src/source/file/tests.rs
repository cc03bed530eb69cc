mod csv_rules;
mod json_rules;
mod property;
mod support;
