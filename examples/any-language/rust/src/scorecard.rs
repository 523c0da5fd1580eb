//! The scorecard itself: what it takes, what it gives, how it scores.
//! This file is what you change for a model of your own; frame.rs and main.rs stay as they are.

use crate::frame::Columns;
use crate::v1::{Column, ColumnSpec, DataType, Signature};

pub const LABELS: [&str; 2] = ["good", "bad"];

pub fn signature() -> Signature {
    let column = |name: &str, kind: DataType, allow_missing| ColumnSpec {
        name: name.into(),
        r#type: kind.into(),
        allow_missing,
        ..ColumnSpec::default()
    };
    Signature {
        inputs: vec![
            column("checking_account", DataType::String, true),
            column("duration_months", DataType::Int64, false),
            column("credit_amount", DataType::Fp64, true),
            column("age_years", DataType::Int64, false),
        ],
        outputs: vec![column("default_probability", DataType::Fp64, false), column("label", DataType::String, false)],
    }
}

/// Follows the table in the README beside this folder.
pub fn score(columns: &Columns, rows: usize) -> Vec<Column> {
    let (account, months) = (&columns["checking_account"], &columns["duration_months"]);
    let (amount, age) = (&columns["credit_amount"], &columns["age_years"]);
    let mut probabilities = Vec::with_capacity(8 * rows);
    let mut labels = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut points = 15.0;
        if account.is_missing(row) {
            points -= 5.0;
        } else {
            points += match account.string(row) {
                "... < 0 DM" => -15.0,
                "no checking account" => 15.0,
                _ => 0.0,
            };
        }
        points += match months.int64(row) {
            ..=12 => 10.0,
            13..=36 => 0.0,
            37.. => -10.0,
        };
        if age.int64(row) < 25 {
            points -= 5.0;
        }
        points -= if amount.is_missing(row) { 8.0 } else { amount.fp64(row) / 1000.0 };

        let probability = 1.0 / (1.0 + (points / 15.0_f64).exp2());
        probabilities.extend_from_slice(&probability.to_le_bytes());
        labels.push(LABELS[usize::from(probability >= 0.5)].to_owned());
    }
    vec![
        Column {
            name: "default_probability".into(),
            r#type: DataType::Fp64.into(),
            values: probabilities.into(),
            ..Column::default()
        },
        Column { name: "label".into(), r#type: DataType::String.into(), strings: labels, ..Column::default() },
    ]
}
