"""Rules for labels: words, phones and semantics that contradict each other, the sound or the id."""

from mambatalk.quality.rules.rule import Rule


def label_rules() -> list[Rule]:
    """Return the rules for the TextGrid and the semantic annotations of a clip."""
    return [
        Rule(
            name="words_are_words",
            severity="quarantine",
            column="phone_like_words",
            reason="most words are written as phones: the tiers are exchanged, or the word tier"
            " holds phones",
            advice="correct the TextGrid",
            maximum=0.5,
            basis="phones of ARPAbet are written in capitals, words of BEAT in small letters",
        ),
        Rule(
            name="phones_in_words",
            severity="warning",
            column="phones_per_word",
            reason="hardly more phones than words: the tiers are exchanged or equal",
            advice="correct the TextGrid",
            minimum=1.2,
            basis="1 if both tiers are equal, and below 1 if they are exchanged",
        ),
        Rule(
            name="words_differ",
            severity="warning",
            column="repeated_word",
            reason="one word is a large share of all words: the words are placeholders",
            advice="transcribe the audio again",
            maximum=0.4,
        ),
        Rule(
            name="words_fit_phones",
            severity="warning",
            column="edges_off_phones",
            reason="words start or end where no phone does (share of word edges): the tiers come"
            " from different alignments",
            advice="align the words again",
            maximum=0.2,
            basis="a word starts with its first phone and ends with its last one in every forced "
            "alignment",
        ),
        Rule(
            name="words_in_order",
            severity="warning",
            column="word_length_fit",
            reason="long words are no longer than short ones (correlation): the words are shuffled"
            " or belong to another clip",
            advice="align the words again",
            minimum=0.4,
            basis="0 on average if the words are shuffled, or are those of another clip",
        ),
        Rule(
            name="all_speech_has_words",
            severity="warning",
            column="unlabelled_speech",
            when="unlabelled_when",
            reason="speech without words (s): a part of the audio was not transcribed",
            advice="align the words again",
            maximum=3,
        ),
        Rule(
            name="language_fits_id",
            severity="warning",
            column="foreign_script",
            reason="words in Chinese or Japanese characters, although the recording type in the"
            " clip id says otherwise",
            advice="correct the id or the TextGrid",
            maximum=0.3,
            basis="English and Spanish have no such characters; names may",
        ),
        Rule(
            name="id_agrees",
            severity="warning",
            column="id_conflict",
            reason="the clip id contradicts itself, so the emotion or the type that it states is"
            " wrong",
            advice="correct the id: type and numbers of the recordings",
            absent=True,
            basis="BEAT has 118 numbers of speeches and 12 of conversations, and the number of a "
            "speech says which emotion was acted",
        ),
        Rule(
            name="semantics_apart",
            severity="warning",
            column="semantic_overlap",
            reason="two semantic labels overlap (s)",
            advice="correct the annotation",
            maximum=0.05,
            basis="annotations of BEAT follow each other without a gap",
        ),
        Rule(
            name="semantic_duration",
            severity="warning",
            column="semantic_duration_error",
            reason="a semantic label has another duration than its start and end say (s)",
            advice="correct the annotation",
            maximum=0.1,
            basis="the duration is written beside start and end, rounded to some digits",
        ),
    ]
