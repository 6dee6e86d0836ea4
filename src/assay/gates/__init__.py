"""What must hold between steps: contracts of tables (L0 to L4), sign tests, eligibility, validation of both kinds."""
