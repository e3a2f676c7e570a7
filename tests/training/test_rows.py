"""Rows: what the policy saw and wrote, token by token."""

from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END
from r4agent.ledger import Ledger
from r4agent.training.rows import Row, led, replies

from .conftest import SCRIPTS, Played


def test_a_row_is_the_ledger_with_the_number_of_each_turn(episodes: Played, checkpoint: Checkpoint) -> None:
    for episode, script in zip(episodes.episodes, SCRIPTS, strict=True):
        row, ledger = Row.of(episode), Ledger.of(replies(episode))
        assert (list(row.ids), list(row.logprobs)) == (ledger.ids, ledger.logprobs)
        assert [turn > 0 for turn in row.turns] == ledger.sampled
        for number, said in enumerate(script, start=1):
            ids = [ident for ident, turn in zip(row.ids, row.turns, strict=True) if turn == number]
            assert ids.pop() == checkpoint.token(END)
            assert checkpoint.tokenizer.decode(ids, skip_special_tokens=False) == said
        assert row.turns[row.prompt] == 1
        assert row.images == tuple(picture.ref for picture in episode.pictures)
        assert not row.taught
        assert row.temperature == row.top_p == 1


def test_replies_that_led_to_the_answer(episodes: Played) -> None:
    zoomed, unread, direct = episodes.episodes
    assert led(zoomed) == {2, 3, 4}  # v6 of v4; v3 led nowhere
    assert led(unread) == {1, 2, 3}  # nothing is cited
    assert led(direct) == {1}
