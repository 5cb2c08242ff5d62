//! Rows of a Parquet file as JSON values, as Python's `datasets` gives them and `json.dumps(…, default=str)` writes them.
//!
//! Integers, Booleans, strings and nulls map to themselves, floats to doubles, structs to objects in the order of the schema, lists to arrays,
//! maps to arrays of pairs; a `ClassLabel` stays the integer it is stored as. What JSON has no form for becomes Python's `str` of it: dates, times,
//! decimals, and bytes (`b'…'`).

use super::cache::shorten;
use super::error::HubError;
use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

/// Reads all rows of a Parquet file, given by its content; `what` names it in messages.
pub(super) fn read(content: Vec<u8>, what: &str) -> Result<Vec<Map<String, Value>>, HubError> {
    // The Parquet reader panics on some damaged files; a damaged file must not take a run down.
    let reason = match std::panic::catch_unwind(move || read_file(content)) {
        Ok(Ok(rows)) => return Ok(rows),
        Ok(Err(reason)) => reason,
        Err(_) => "the reader gave up on it".to_owned(),
    };
    Err(HubError::corrupt(what, format!("it cannot be read as Parquet: {reason}; delete it from the cache and download it again")))
}

fn read_file(content: Vec<u8>) -> Result<Vec<Map<String, Value>>, String> {
    let text = |error: parquet::errors::ParquetError| shorten(&error.to_string());
    let reader = SerializedFileReader::new(Bytes::from(content)).map_err(text)?;
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema_descr().root_schema_ptr();
    let announced = metadata.num_rows();
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).map_err(text)? {
        let row = row.map_err(text)?;
        let number = rows.len();
        rows.push(object(row, schema.get_fields()).map_err(|reason| format!("row {number}, {reason}"))?);
    }
    if i64::try_from(rows.len()) != Ok(announced) {
        return Err(format!("it announces {announced} rows and has {}", rows.len()));
    }
    Ok(rows)
}

fn object(row: Row, types: &[std::sync::Arc<Type>]) -> Result<Map<String, Value>, String> {
    let columns = row.into_columns();
    if columns.len() != types.len() {
        return Err(format!("{} columns where the schema has {}", columns.len(), types.len()));
    }
    let mut object = Map::with_capacity(columns.len());
    for ((name, field), kind) in columns.into_iter().zip(types) {
        let value = value(field, kind).map_err(|reason| format!("column {name:?}: {reason}"))?;
        if object.insert(name.clone(), value).is_some() {
            return Err(format!("the column {name:?} occurs twice"));
        }
    }
    Ok(object)
}

fn value(field: Field, kind: &Type) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => match logical_timestamp(kind) {
            Some((TimeUnit::NANOS, adjusted)) => timestamp(value.div_euclid(1_000_000_000), value.rem_euclid(1_000_000_000), adjusted)?,
            _ if matches!(logical(kind), Some(LogicalType::Time(_))) => time(value)?,
            _ => value.into(),
        },
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float16(value) => float(f64::from(value))?,
        Field::Float(value) => float(f64::from(value))?,
        Field::Double(value) => float(value)?,
        Field::Decimal(value) => Value::String(decimal(value.data(), value.scale())?),
        Field::Str(value) => Value::String(value),
        Field::Bytes(value) => Value::String(python_bytes(value.data())),
        Field::Date(days) => {
            let date = NaiveDate::from_epoch_days(days).filter(|date| (1..=9999).contains(&date.year()));
            Value::String(date.ok_or("a date out of Python's range")?.format("%Y-%m-%d").to_string())
        }
        Field::TimeMillis(value) => time(i64::from(value) * 1_000_000)?,
        Field::TimeMicros(value) => time(value.checked_mul(1000).ok_or("a time out of range")?)?,
        Field::TimestampMillis(_) if kind.is_primitive() && kind.get_physical_type() == PhysicalType::INT96 => {
            return Err("INT96 timestamps are not read; write the file with a TIMESTAMP type".to_owned());
        }
        Field::TimestampMillis(value) => timestamp(value.div_euclid(1000), value.rem_euclid(1000) * 1_000_000, is_adjusted(kind))?,
        Field::TimestampMicros(value) => timestamp(value.div_euclid(1_000_000), value.rem_euclid(1_000_000) * 1000, is_adjusted(kind))?,
        Field::Group(row) => Value::Object(object(row, kind.get_fields())?),
        Field::ListInternal(list) => {
            let element = element_type(kind);
            let elements = (0..list.len()).map(|index| value(list.elements()[index].clone(), element));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let pair = kind.get_fields()[0].get_fields();
            let entries = map.entries().iter().map(|(key, held)| {
                let key = value(key.clone(), &pair[0])?;
                let held = pair.get(1).map_or(Ok(Value::Null), |held_type| value(held.clone(), held_type))?;
                Ok::<Value, String>(Value::Array(vec![key, held]))
            });
            Value::Array(entries.collect::<Result<_, _>>()?)
        }
    })
}

/// The element type of a list, by the format's rules for backward compatibility.
fn element_type(list: &Type) -> &Type {
    let info = list.get_basic_info();
    if list.is_primitive() || (info.has_repetition() && info.repetition() == Repetition::REPEATED) {
        // A repeated field without a LIST annotation is a list of itself.
        return list;
    }
    let repeated = &list.get_fields()[0];
    let wrapper =
        repeated.is_group() && repeated.get_fields().len() == 1 && repeated.name() != "array" && !repeated.name().ends_with("_tuple");
    if wrapper { &repeated.get_fields()[0] } else { repeated }
}

fn logical(kind: &Type) -> Option<&LogicalType> {
    kind.get_basic_info().logical_type_ref()
}

fn logical_timestamp(kind: &Type) -> Option<(TimeUnit, bool)> {
    match logical(kind) {
        Some(LogicalType::Timestamp(kind)) => Some((kind.unit, kind.is_adjusted_to_u_t_c)),
        _ => None,
    }
}

/// Whether a timestamp is an instant in UTC. The older annotation without a logical type means so, and Arrow reads it as local time when it wrote it so.
fn is_adjusted(kind: &Type) -> bool {
    logical_timestamp(kind).is_none_or(|(_, adjusted)| adjusted)
}

fn float(value: f64) -> Result<Value, String> {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| format!("{value} has no form in JSON"))
}

fn timestamp(seconds: i64, nanoseconds: i64, adjusted: bool) -> Result<Value, String> {
    let moment = u32::try_from(nanoseconds).ok().and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds));
    let moment = moment.map(|moment| moment.naive_utc()).filter(|moment| (1..=9999).contains(&moment.year()));
    let moment: NaiveDateTime = moment.ok_or("a timestamp out of Python's range")?;
    let fraction = fraction(moment.nanosecond());
    Ok(Value::String(format!("{}{fraction}{}", moment.format("%Y-%m-%d %H:%M:%S"), if adjusted { "+00:00" } else { "" })))
}

fn time(nanoseconds: i64) -> Result<Value, String> {
    let seconds = u32::try_from(nanoseconds.div_euclid(1_000_000_000)).ok();
    let rest = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok();
    let time = seconds.zip(rest).and_then(|(seconds, rest)| NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest));
    let time = time.ok_or("a time out of range")?;
    Ok(Value::String(format!("{}{}", time.format("%H:%M:%S"), fraction(time.nanosecond()))))
}

/// The fraction of a second as Python prints it: none, microseconds, or nanoseconds.
fn fraction(nanoseconds: u32) -> String {
    if nanoseconds == 0 {
        String::new()
    } else if nanoseconds.is_multiple_of(1000) {
        format!(".{:06}", nanoseconds / 1000)
    } else {
        format!(".{nanoseconds:09}")
    }
}

/// A decimal from its big-endian two's complement digits.
fn decimal(bytes: &[u8], scale: i32) -> Result<String, String> {
    if bytes.is_empty() || bytes.len() > 16 {
        return Err(format!("a decimal of {} bytes; at most 16 are read", bytes.len()));
    }
    let mut whole = [if bytes[0] >= 0x80 { 0xff } else { 0 }; 16];
    whole[16 - bytes.len()..].copy_from_slice(bytes);
    let unscaled = i128::from_be_bytes(whole);
    let places = usize::try_from(scale).map_err(|_| "a decimal with a negative scale".to_owned())?;
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = places + 1);
    let (integer, fractional) = digits.split_at(digits.len() - places);
    Ok(if places == 0 { format!("{sign}{integer}") } else { format!("{sign}{integer}.{fractional}") })
}

/// `repr` of Python's `bytes`.
fn python_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\'' if quote == '\'' => text.push_str("\\'"),
            0x20..=0x7e => text.push(char::from(*byte)),
            // Writing to a String cannot fail.
            other => drop(write!(text, "\\x{other:02x}")),
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use std::path::Path;
    use std::sync::Arc;

    const SCHEMA: &str = "message schema {
        optional binary text (UTF8);
        optional int32 small;
        required int64 big;
        optional double real;
        optional boolean flag;
        optional binary raw;
        optional int64 at (TIMESTAMP(MICROS,false));
        optional int32 day (DATE);
        optional group targets { optional group labels (LIST) { repeated group list { optional int32 element; } } }
    }";

    /// A file with two rows in every kind of column; the second has nulls where it may.
    pub(in crate::hub) fn write_sample(path: &Path) {
        let schema = Arc::new(parquet::schema::parser::parse_message_type(SCHEMA).unwrap());
        let file = std::fs::File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut index = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            let present = Some(&[1_i16, 0][..]);
            match index {
                0 => drop(column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("é\u{1F600}\r\n")], present, None).unwrap()),
                1 => drop(column.typed::<Int32Type>().write_batch(&[-7], present, None).unwrap()),
                2 => drop(column.typed::<Int64Type>().write_batch(&[i64::MAX, 0], None, None).unwrap()),
                3 => drop(column.typed::<DoubleType>().write_batch(&[0.1], present, None).unwrap()),
                4 => drop(column.typed::<BoolType>().write_batch(&[true], present, None).unwrap()),
                5 => drop(column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(vec![0, b'a', b'\''])], present, None).unwrap()),
                6 => drop(column.typed::<Int64Type>().write_batch(&[1_500_000], present, None).unwrap()),
                7 => drop(column.typed::<Int32Type>().write_batch(&[19_000], present, None).unwrap()),
                // Row 0: [1, null, 3]; row 1: an empty list inside a struct.
                _ => drop(column.typed::<Int32Type>().write_batch(&[1, 3], Some(&[4, 3, 4, 2]), Some(&[0, 1, 1, 0])).unwrap()),
            }
            column.close().unwrap();
            index += 1;
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    /// Each kind of column becomes what Python's `datasets` and `json.dumps` make of it, in the order of the schema.
    #[test]
    fn rows_are_what_python_sees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_sample(&path);
        let rows = read(std::fs::read(&path).unwrap(), "sample").unwrap();
        assert_eq!(
            serde_json::to_string(&rows[0]).unwrap(),
            r#"{"text":"é😀\r\n","small":-7,"big":9223372036854775807,"real":0.1,"flag":true,"raw":"b\"\\x00a'\"","at":"1970-01-01 00:00:01.500000","day":"2022-01-08","targets":{"labels":[1,null,3]}}"#
        );
        assert_eq!(
            serde_json::to_string(&rows[1]).unwrap(),
            r#"{"text":null,"small":null,"big":0,"real":null,"flag":null,"raw":null,"at":null,"day":null,"targets":{"labels":[]}}"#
        );
    }

    /// Cut or scrambled files are errors that name the file, never a panic and never fewer rows.
    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_sample(&path);
        let whole = std::fs::read(&path).unwrap();
        let reference = read(whole.clone(), "sample").unwrap();
        for cut in [0, 3, 4, whole.len() / 2, whole.len() - 1] {
            let message = read(whole[..cut].to_vec(), "the sample").unwrap_err().to_string();
            assert!(message.contains("the sample") && message.contains("download it again"), "{message}");
        }
        for at in (4..whole.len() - 8).step_by(7) {
            let mut scrambled = whole.clone();
            scrambled[at] ^= 0x55;
            if let Ok(rows) = read(scrambled, "the sample") {
                assert_eq!(rows.len(), reference.len(), "byte {at}");
            }
        }
    }

    /// Python's spelling of the values that JSON has no form for.
    #[test]
    fn python_spellings() {
        assert_eq!(python_bytes(b"a\\\n\xff"), r"b'a\\\n\xff'");
        assert_eq!(python_bytes(br#"'""#), r#"b'\'"'"#);
        assert_eq!(decimal(&[0xff, 0x85], 2).unwrap(), "-1.23");
        assert_eq!(decimal(&[5], 2).unwrap(), "0.05");
        assert_eq!(timestamp(0, 1, true).unwrap(), "1970-01-01 00:00:00.000000001+00:00");
        assert_eq!(time(3_661_000_000_000).unwrap(), "01:01:01");
        assert!(float(f64::NAN).is_err());
    }
}
