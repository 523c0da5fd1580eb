// Frames: columns read where they lie, and refused by name before any part of them is used.
// docs/protocol.md, P40 to P52 (frames), P60 and P61 (signatures).
package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	pb "scorecard/rendezvous/v1"
)

// column reads a column's elements where they lie, in the bytes that came: nothing is copied or converted ahead.
type column struct{ *pb.Column }

func (c column) missing(row int) bool {
	return len(c.Missing) > 0 && c.Missing[row/8]>>(row%8)&1 == 1
}
func (c column) int64(row int) int64 { return int64(binary.LittleEndian.Uint64(c.Values[8*row:])) }
func (c column) fp64(row int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(c.Values[8*row:]))
}

const maxRows = 100_000 // one table; a request that claims more is refused before anything of that size is made

var widths = map[pb.DataType]uint64{ // bytes an element; STRING and BYTES have none
	pb.DataType_DATA_TYPE_BOOL: 1, pb.DataType_DATA_TYPE_INT8: 1, pb.DataType_DATA_TYPE_UINT8: 1,
	pb.DataType_DATA_TYPE_INT16: 2, pb.DataType_DATA_TYPE_UINT16: 2, pb.DataType_DATA_TYPE_FP16: 2,
	pb.DataType_DATA_TYPE_INT32: 4, pb.DataType_DATA_TYPE_UINT32: 4, pb.DataType_DATA_TYPE_FP32: 4,
	pb.DataType_DATA_TYPE_INT64: 8, pb.DataType_DATA_TYPE_UINT64: 8, pb.DataType_DATA_TYPE_FP64: 8,
	pb.DataType_DATA_TYPE_STRING: 0, pb.DataType_DATA_TYPE_BYTES: 0,
}

// refuse names the column where one is at fault; a very long name is cut.
func refuse(code pb.ErrorCode, name, format string, values ...any) *pb.Error {
	refusal := &pb.Error{Code: code, Message: fmt.Sprintf(format, values...)}
	if name != "" {
		if shown := []rune(name); len(shown) > 80 {
			name = string(shown[:80]) + "..."
		}
		refusal.Message = fmt.Sprintf("column %q: %s", name, refusal.Message)
		refusal.Attributes = map[string]string{"column": name}
	}
	return refusal
}

func checkFrame(frame *pb.Frame) *pb.Error {
	const code = pb.ErrorCode_ERROR_CODE_INVALID_FRAME
	if frame.GetRows() < 0 {
		return refuse(code, "", "rows is %d: it must not be negative", frame.GetRows())
	}
	seen := map[string]bool{}
	for index, c := range frame.GetColumns() {
		if c.Name == "" {
			return refuse(code, "", "column %d has no name: name it", index)
		}
		if seen[c.Name] {
			return refuse(code, c.Name, "is there twice: names must be unique")
		}
		seen[c.Name] = true
		if refusal := checkColumn(c, uint64(frame.Rows)); refusal != nil {
			return refusal
		}
	}
	return nil
}

func checkColumn(c *pb.Column, rows uint64) *pb.Error {
	const code = pb.ErrorCode_ERROR_CODE_INVALID_FRAME
	width, known := widths[c.Type]
	if !known {
		return refuse(code, c.Name, "type %d is unknown", c.Type)
	}
	if len(c.Shape) > 8 {
		return refuse(code, c.Name, "shape has %d dimensions: at most 8 are allowed", len(c.Shape))
	}
	elements := rows
	for _, size := range c.Shape {
		if size < 0 {
			return refuse(code, c.Name, "shape %v has a negative dimension", c.Shape)
		}
		elements = multiply(elements, uint64(size))
	}
	expected := map[string]uint64{"values": multiply(elements, width)}
	if c.Type == pb.DataType_DATA_TYPE_STRING {
		expected["strings"] = elements
	} else if c.Type == pb.DataType_DATA_TYPE_BYTES {
		expected["blobs"] = elements
	}
	actual := map[string]int{"values": len(c.Values), "strings": len(c.Strings), "blobs": len(c.Blobs)}
	for _, carrier := range []string{"values", "strings", "blobs"} {
		if uint64(actual[carrier]) != expected[carrier] {
			return refuse(code, c.Name, "`%s` has length %d: %d rows of shape %v need %d",
				carrier, actual[carrier], rows, c.Shape, expected[carrier])
		}
	}
	if c.Type == pb.DataType_DATA_TYPE_BOOL {
		if at := slices.IndexFunc(c.Values, func(octet byte) bool { return octet > 1 }); at >= 0 {
			return refuse(code, c.Name, "BOOL element %d is the byte %d: it must be 0 or 1", at, c.Values[at])
		}
	}
	if len(c.Missing) > 0 {
		if needed := (rows + 7) / 8; uint64(len(c.Missing)) != needed {
			return refuse(code, c.Name, "missing bitmap has %d bytes: %d rows need %d", len(c.Missing), rows, needed)
		}
		if spare := rows % 8; spare != 0 && c.Missing[len(c.Missing)-1]>>spare != 0 {
			return refuse(code, c.Name, "missing bitmap has bits set beyond row %d: spare bits must be 0", rows-1)
		}
	}
	return nil
}

// multiply saturates: a product that wrapped round could agree with a short column.
func multiply(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high != 0 {
		return math.MaxUint64
	}
	return low
}

// checkSignature returns the columns by name if they are exactly the declared ones.
func checkSignature(frame *pb.Frame) (map[string]column, *pb.Error) {
	const code = pb.ErrorCode_ERROR_CODE_SIGNATURE_MISMATCH
	found := map[string]column{}
	for _, c := range frame.Columns {
		at := slices.IndexFunc(inputs, func(spec *pb.ColumnSpec) bool { return spec.Name == c.Name })
		if at < 0 {
			return nil, refuse(code, c.Name, "is unknown: the model takes %s", names(inputs))
		}
		spec := inputs[at]
		if c.Type != spec.Type || !slices.Equal(c.Shape, spec.Shape) {
			return nil, refuse(code, c.Name, "expected %s of shape %v, got %s of shape %v",
				typeName(spec.Type), spec.Shape, typeName(c.Type), c.Shape)
		}
		found[c.Name] = column{c}
		if refusal := checkRows(column{c}, spec, int(frame.Rows)); refusal != nil {
			return nil, refusal
		}
	}
	for _, spec := range inputs {
		if _, ok := found[spec.Name]; !ok {
			return nil, refuse(code, spec.Name, "is absent: expected %s of shape %v", typeName(spec.Type), spec.Shape)
		}
	}
	return found, nil
}

// checkRows knows scalar FP64 columns, the only floating-point ones of this model.
func checkRows(c column, spec *pb.ColumnSpec, rows int) *pb.Error {
	const code = pb.ErrorCode_ERROR_CODE_SIGNATURE_MISMATCH
	for row := range rows {
		if c.missing(row) {
			if !spec.AllowMissing {
				return refuse(code, c.Name, "is missing in row %d: missing values are not allowed here", row)
			}
			continue // what a missing row holds is not looked at
		}
		if spec.Type == pb.DataType_DATA_TYPE_FP64 && !spec.AllowNan {
			if value := c.fp64(row); math.IsNaN(value) || math.IsInf(value, 0) {
				return refuse(code, c.Name, "is %v in row %d: it must be finite here", value, row)
			}
		}
	}
	return nil
}

func typeName(kind pb.DataType) string { return strings.TrimPrefix(kind.String(), "DATA_TYPE_") }

func names(specs []*pb.ColumnSpec) string {
	all := make([]string, len(specs))
	for index, spec := range specs {
		all[index] = spec.Name
	}
	return strings.Join(all, ", ")
}
