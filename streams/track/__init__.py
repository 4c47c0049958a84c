"""The agent over contact events: each batch is gathered, decided and applied, and each contact kept in one home.

`agent` has the steps of a batch and the wake-ups, `gather` finds what a batch touches, `decide` judges it and
`work` is what comes of it. `journeying` joins contacts into journeys; `homes`, `seats` and `moving` keep a contact
where its customer lives; `forgetting` lets it go. What the clocks say belongs to `streams.engine`.
"""
