//! Record batches as JSON values, the same for every face: times RFC 3339, ids 22 characters, bytes as text where they are UTF-8
//! and base64 where not.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use model::{EventId, Time};
use serde_json::Value;

/// The value at `row` of a column called `name`.
#[must_use]
pub fn at(name: &str, array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Time(array.as_primitive::<TimestampMicrosecondType>().value(row)).to_string().into()
        }
        DataType::FixedSizeBinary(16) if name.ends_with("av_id") => {
            let mut id = [0; 16];
            for (o, b) in id.iter_mut().zip(array.as_fixed_size_binary().value(row)) {
                *o = *b;
            }
            EventId(id).to_string().into()
        }
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(array.as_binary_view().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|i| at(name, &items, i)).collect()
        }
        DataType::Struct(fields) => {
            let s = array.as_struct();
            fields
                .iter()
                .zip(s.columns())
                .map(|(f, c)| (f.name().clone(), at(f.name(), c, row)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        // Dates, intervals, decimals: the engine's own text.
        _ => arrow::util::display::array_value_to_string(array, row).map_or(Value::Null, Value::from),
    }
}

fn bytes(b: &[u8]) -> Value {
    match std::str::from_utf8(b) {
        Ok(s) => s.into(),
        Err(_) => {
            use arrow::array::BinaryArray;
            let shown = arrow::util::display::array_value_to_string(&BinaryArray::from(vec![b]), 0)
                .unwrap_or_default();
            serde_json::json!({ "hex": shown })
        }
    }
}
