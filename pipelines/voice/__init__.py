"""The spoken conversation, one file per stage: vad, stt, turn, llm, clauses, tts."""
