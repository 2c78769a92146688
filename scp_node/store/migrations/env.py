"""What Alembic runs: the migrations, inside the transaction that the caller has begun."""

from alembic import context

from scp_node.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
