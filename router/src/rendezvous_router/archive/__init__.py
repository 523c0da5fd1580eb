"""The archive's writer: reads the endpoints' streams, keeps them as Parquet, proves that nothing is missing."""
