"""The first tables: study, worker, slot, assignment, answer."""

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.CheckConstraint("id = 1", name="ck_studies_one"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("platform", sa.String(16), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("square", sa.Integer),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("entered_at", moment, nullable=False),
        sa.Column("consented_at", moment),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("finished_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
        sa.UniqueConstraint("hash", name="uq_workers_hash"),
        sa.UniqueConstraint("token", name="uq_workers_token"),
        sa.UniqueConstraint("code", name="uq_workers_code"),
    )
    op.create_table(
        "slots",
        sa.Column("item", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("item", "number", name="pk_slots"),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("worker_id", sa.Integer, nullable=False),
        sa.Column("item", sa.String(200), nullable=False),
        sa.Column("slot", sa.Integer),
        sa.Column("method", sa.String(200)),
        sa.Column("picture", sa.String(400)),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("flipped", sa.Boolean, nullable=False),
        sa.Column("given_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name="fk_assignments_worker_id"),
        sa.ForeignKeyConstraint(["item", "slot"], ["slots.item", "slots.number"], name="fk_assignments_item_slot"),
        sa.UniqueConstraint("item", "slot", name="uq_assignments_item_slot"),
        sa.UniqueConstraint("worker_id", "item", name="uq_assignments_worker_id_item"),
        sa.UniqueConstraint("worker_id", "method", "picture", name="uq_assignments_worker_id_method_picture"),
        sa.UniqueConstraint("worker_id", "position", name="uq_assignments_worker_id_position"),
    )
    op.create_table(
        "answers",
        sa.Column("assignment_id", sa.String(32), nullable=False),
        sa.Column("option", sa.Integer, nullable=False),
        sa.Column("choice", sa.String(200), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("rt_ms", sa.Integer, nullable=False),
        sa.Column("answered_at", moment, nullable=False),
        sa.Column("surplus", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("assignment_id", name="pk_answers"),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name="fk_answers_assignment_id"),
    )


def downgrade() -> None:
    """Drops them, with all that they hold."""
    for table in ("answers", "assignments", "slots", "workers", "studies"):
        op.drop_table(table)
