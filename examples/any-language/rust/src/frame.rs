//! Frames: columns read where they lie, and refused by name before any part of them is used.
//! docs/protocol.md, P40 to P52 (frames), P60 and P61 (signatures).

use std::collections::{HashMap, HashSet};

use crate::v1::{Column, ColumnSpec, DataType, Error, ErrorCode, Frame};

/// The columns of a frame that fits the signature, by name.
pub type Columns<'a> = HashMap<&'a str, Elements<'a>>;

/// Reads elements in the bytes that came: nothing is copied or converted ahead.
pub struct Elements<'a>(&'a Column);

impl Elements<'_> {
    pub fn is_missing(&self, row: usize) -> bool {
        self.0.missing.get(row / 8).is_some_and(|octet| octet >> (row % 8) & 1 == 1)
    }

    pub fn int64(&self, row: usize) -> i64 {
        i64::from_le_bytes(self.0.values.as_chunks().0[row])
    }

    pub fn fp64(&self, row: usize) -> f64 {
        f64::from_le_bytes(self.0.values.as_chunks().0[row])
    }

    pub fn string(&self, row: usize) -> &str {
        &self.0.strings[row]
    }
}

/// Makes the error that names the column where one is at fault; a very long name is cut.
pub fn refuse(code: ErrorCode, column: &str, message: String) -> Error {
    if column.is_empty() {
        return Error { code: code.into(), message, ..Error::default() };
    }
    let shown = cut(column);
    let message = format!("column {shown:?}: {message}");
    Error { code: code.into(), message, attributes: HashMap::from([("column".to_owned(), shown)]) }
}

/// The beginning of a text, for a message.
pub fn cut(text: &str) -> String {
    if text.chars().nth(80).is_some() { format!("{text:.80}...") } else { text.to_owned() }
}

fn invalid<T>(column: &str, message: String) -> Result<T, Error> {
    Err(refuse(ErrorCode::InvalidFrame, column, message))
}

fn mismatch<T>(column: &str, message: String) -> Result<T, Error> {
    Err(refuse(ErrorCode::SignatureMismatch, column, message))
}

/// Returns INVALID_FRAME if the frame contradicts itself.
pub fn check_frame(frame: &Frame) -> Result<(), Error> {
    if frame.rows < 0 {
        return invalid("", format!("rows is {}: it must not be negative", frame.rows));
    }
    let mut seen = HashSet::new();
    for (index, column) in frame.columns.iter().enumerate() {
        if column.name.is_empty() {
            return invalid("", format!("column {index} has no name: name it"));
        }
        if !seen.insert(&column.name) {
            return invalid(&column.name, "is there twice: names must be unique".into());
        }
        check_column(column, frame.rows as u64)?;
    }
    Ok(())
}

/// Bytes an element; 0 for STRING and BYTES, none for what is no type.
fn width_of(kind: DataType) -> Option<u64> {
    use DataType::*;
    match kind {
        Bool | Int8 | Uint8 => Some(1),
        Int16 | Uint16 | Fp16 => Some(2),
        Int32 | Uint32 | Fp32 => Some(4),
        Int64 | Uint64 | Fp64 => Some(8),
        String | Bytes => Some(0),
        Unspecified => None,
    }
}

fn check_column(column: &Column, rows: u64) -> Result<(), Error> {
    let Column { name, shape, values, strings, blobs, missing, .. } = column;
    let kind = DataType::try_from(column.r#type).unwrap_or_default();
    let Some(width) = width_of(kind) else {
        return invalid(name, format!("type {} is unknown", column.r#type));
    };
    if shape.len() > 8 {
        return invalid(name, format!("shape has {} dimensions: at most 8 are allowed", shape.len()));
    }
    if shape.iter().any(|size| *size < 0) {
        return invalid(name, format!("shape {shape:?} has a negative dimension"));
    }
    // Saturating: a product that wrapped round could agree with a short column.
    let elements = shape.iter().fold(rows, |product, size| product.saturating_mul(*size as u64));
    for (carrier, actual, expected) in [
        ("values", values.len(), elements.saturating_mul(width)),
        ("strings", strings.len(), if kind == DataType::String { elements } else { 0 }),
        ("blobs", blobs.len(), if kind == DataType::Bytes { elements } else { 0 }),
    ] {
        if actual as u64 != expected {
            let needed = format!("{rows} rows of {} need {expected}", shown(column.r#type, shape));
            return invalid(name, format!("`{carrier}` has length {actual}: {needed}"));
        }
    }
    if kind == DataType::Bool
        && let Some(at) = values.iter().position(|octet| *octet > 1)
    {
        return invalid(name, format!("BOOL element {at} is the byte {}: it must be 0 or 1", values[at]));
    }
    let Some(last) = missing.last() else { return Ok(()) };
    let needed = rows.div_ceil(8);
    if missing.len() as u64 != needed {
        return invalid(name, format!("missing bitmap has {} bytes: {rows} rows need {needed}", missing.len()));
    }
    if !rows.is_multiple_of(8) && last >> (rows % 8) != 0 {
        return invalid(name, format!("missing bitmap has bits set beyond row {}: spare bits must be 0", rows - 1));
    }
    Ok(())
}

/// Returns the columns by name if they are exactly the declared ones, else SIGNATURE_MISMATCH.
pub fn check_signature<'a>(frame: &'a Frame, specs: &[ColumnSpec]) -> Result<Columns<'a>, Error> {
    let mut columns = Columns::new();
    for column in &frame.columns {
        let Some(spec) = specs.iter().find(|spec| spec.name == column.name) else {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return mismatch(&column.name, format!("is unknown: the model takes {}", names.join(", ")));
        };
        let (expected, actual) = (shown(spec.r#type, &spec.shape), shown(column.r#type, &column.shape));
        if expected != actual {
            return mismatch(&column.name, format!("expected {expected}, got {actual}"));
        }
        let elements = Elements(column);
        check_rows(&elements, spec, frame.rows as usize)?;
        columns.insert(&column.name, elements);
    }
    match specs.iter().find(|spec| !columns.contains_key(spec.name.as_str())) {
        Some(spec) => mismatch(&spec.name, format!("is absent: expected {}", shown(spec.r#type, &spec.shape))),
        None => Ok(columns),
    }
}

/// Knows scalar FP64 columns, the only floating-point ones of this model.
fn check_rows(elements: &Elements, spec: &ColumnSpec, rows: usize) -> Result<(), Error> {
    let must_be_finite = spec.r#type() == DataType::Fp64 && !spec.allow_nan;
    for row in 0..rows {
        if elements.is_missing(row) {
            if !spec.allow_missing {
                return mismatch(&spec.name, format!("is missing in row {row}: missing values are not allowed here"));
            }
        } else if must_be_finite && !elements.fp64(row).is_finite() {
            let value = elements.fp64(row);
            return mismatch(&spec.name, format!("is {value} in row {row}: it must be finite here"));
        }
    }
    Ok(())
}

fn shown(kind: i32, shape: &[i64]) -> String {
    let name = DataType::try_from(kind).unwrap_or_default().as_str_name();
    format!("{} of shape {shape:?}", name.trim_start_matches("DATA_TYPE_"))
}
