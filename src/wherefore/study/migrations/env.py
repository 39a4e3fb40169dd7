"""What Alembic runs: the migrations, in the transaction of the connection that it was given."""

from alembic import context

from wherefore.study.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, where the driver does not begin and commit on its own
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
