// The scorecard itself: what it takes, what it gives, how it scores.
// This file is what you change for a model of your own; frame.ts and main.ts stay as they are.
import type { Columns } from "./frame.js";
import { Column, DataType } from "./rendezvous/v1/frame.js";
import { ColumnSpec } from "./rendezvous/v1/model.js";

export const inputs = [
  ColumnSpec.create({ name: "checking_account", type: DataType.DATA_TYPE_STRING, allowMissing: true }),
  ColumnSpec.create({ name: "duration_months", type: DataType.DATA_TYPE_INT64 }),
  ColumnSpec.create({ name: "credit_amount", type: DataType.DATA_TYPE_FP64, allowMissing: true }),
  ColumnSpec.create({ name: "age_years", type: DataType.DATA_TYPE_INT64 }),
];

export const outputs = [
  ColumnSpec.create({ name: "default_probability", type: DataType.DATA_TYPE_FP64 }),
  ColumnSpec.create({ name: "label", type: DataType.DATA_TYPE_STRING }),
];

export const labels = ["good", "bad"];

// Follows the table in the README beside this folder. INT64 is a bigint: a number is exact up to 2^53 only.
export function score(columns: Columns, rows: number): Column[] {
  const account = columns.get("checking_account");
  const months = columns.get("duration_months");
  const amount = columns.get("credit_amount");
  const age = columns.get("age_years");
  const probabilities = Buffer.alloc(8 * rows);
  const label: string[] = [];
  for (let row = 0; row < rows; row++) {
    let points = 15;
    if (account.isMissing(row)) points -= 5;
    else if (account.string(row) === "... < 0 DM") points -= 15;
    else if (account.string(row) === "no checking account") points += 15;

    if (months.int64(row) <= 12n) points += 10;
    else if (months.int64(row) > 36n) points -= 10;

    if (age.int64(row) < 25n) points -= 5;
    points -= amount.isMissing(row) ? 8 : amount.fp64(row) / 1000;

    const probability = 1 / (1 + 2 ** (points / 15));
    probabilities.writeDoubleLE(probability, 8 * row);
    label.push(probability >= 0.5 ? "bad" : "good");
  }
  return [
    Column.create({ name: "default_probability", type: DataType.DATA_TYPE_FP64, values: probabilities }),
    Column.create({ name: "label", type: DataType.DATA_TYPE_STRING, strings: label }),
  ];
}
