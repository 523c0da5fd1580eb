// The scorecard itself: what it takes, what it gives, how it scores.
// This file is what you change for a model of your own; frame.go and main.go stay as they are.
package main

import (
	"encoding/binary"
	"math"

	pb "scorecard/rendezvous/v1"
)

var inputs = []*pb.ColumnSpec{
	{Name: "checking_account", Type: pb.DataType_DATA_TYPE_STRING, AllowMissing: true},
	{Name: "duration_months", Type: pb.DataType_DATA_TYPE_INT64},
	{Name: "credit_amount", Type: pb.DataType_DATA_TYPE_FP64, AllowMissing: true},
	{Name: "age_years", Type: pb.DataType_DATA_TYPE_INT64},
}

var outputs = []*pb.ColumnSpec{
	{Name: "default_probability", Type: pb.DataType_DATA_TYPE_FP64},
	{Name: "label", Type: pb.DataType_DATA_TYPE_STRING},
}

var labels = []string{"good", "bad"}

// score follows the table in the README beside this folder.
func score(in map[string]column, rows int) []*pb.Column {
	account, months, amount, age := in["checking_account"], in["duration_months"], in["credit_amount"], in["age_years"]
	probabilities, label := make([]byte, 8*rows), make([]string, rows)
	for row := range rows {
		points := 15.0
		switch {
		case account.missing(row):
			points -= 5
		case account.Strings[row] == "... < 0 DM":
			points -= 15
		case account.Strings[row] == "no checking account":
			points += 15
		}
		if months.int64(row) <= 12 {
			points += 10
		} else if months.int64(row) > 36 {
			points -= 10
		}
		if age.int64(row) < 25 {
			points -= 5
		}
		if amount.missing(row) {
			points -= 8
		} else {
			points -= amount.fp64(row) / 1000
		}
		probability := 1 / (1 + math.Exp2(points/15))
		binary.LittleEndian.PutUint64(probabilities[8*row:], math.Float64bits(probability))
		label[row] = labels[0]
		if probability >= 0.5 {
			label[row] = labels[1]
		}
	}
	return []*pb.Column{
		{Name: outputs[0].Name, Type: outputs[0].Type, Values: probabilities},
		{Name: outputs[1].Name, Type: outputs[1].Type, Strings: label},
	}
}
