"""Which part forgets: how far each module's weights moved, whose elements collide, which states drift, what returns."""
