"""What the pages say, in English, French, Dutch and German; numbers and times as they are written.

Goods texts stay as declared. Names of codes come from the Combined Nomenclature where its data
files are installed.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from models.hs.nomenclature import LANGUAGES, lines, without_exclusions
from schemas.reasons import TEXTS_IN, Reason

NAMES: Final = {"en": "English", "fr": "Français", "nl": "Nederlands", "de": "Deutsch"}
WEIGHTED: Final = re.compile(r"\s*(?P<tag>[A-Za-z]{1,8})[^,;]*(?:;\s*q=(?P<q>[0-9.]{1,5}))?\s*")
ACCEPTED: Final = 10
"""Languages of a header that are looked at."""
MAX_HEADER: Final = 500
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SHORT: Final = 90
"""Characters of a code's name."""

T: Final[Mapping[str, tuple[str, str, str, str]]] = {
    # the frame
    "queue": ("Queue", "File", "Wachtrij", "Liste"),
    "alerts": ("Alerts", "Alertes", "Meldingen", "Hinweise"),
    "live": ("Live", "En direct", "Live", "Live"),
    "reconnecting": ("Reconnecting …", "Reconnexion …", "Opnieuw verbinden …", "Neu verbinden …"),
    "cut_off": (
        "The console hears no new alerts at the moment. Decisions are kept and sent later.",
        "La console ne reçoit pas de nouvelles alertes. Les décisions seront envoyées plus tard.",
        "De console ontvangt nu geen nieuwe meldingen. Beslissingen worden later verzonden.",
        "Die Konsole erhält gerade keine neuen Hinweise. Entscheidungen werden später gesendet.",
    ),
    "language": ("Language", "Langue", "Taal", "Sprache"),
    "skip": ("Skip to content", "Aller au contenu", "Naar de inhoud", "Zum Inhalt"),
    "role_viewer": ("viewer", "lecteur", "lezer", "Leser"),
    "role_inspector": ("inspector", "inspecteur", "inspecteur", "Prüfer"),
    "role_supervisor": ("supervisor", "superviseur", "supervisor", "Aufsicht"),
    "keys": ("Keys", "Touches", "Toetsen", "Tasten"),
    "close": ("Close", "Fermer", "Sluiten", "Schließen"),
    # the queue
    "view_all": ("Open", "Ouvertes", "Open", "Offen"),
    "view_mine": ("Mine", "À moi", "Van mij", "Meine"),
    "view_free": ("Unassigned", "Non attribuées", "Niet toegewezen", "Nicht zugewiesen"),
    "view_snoozed": ("Snoozed", "Reportées", "Uitgesteld", "Zurückgestellt"),
    "view_decided": ("Decided", "Décidées", "Beslist", "Entschieden"),
    "lane": ("Lane", "Circuit", "Kanaal", "Kanal"),
    "lane_red": ("Red", "Rouge", "Rood", "Rot"),
    "lane_yellow": ("Yellow", "Jaune", "Geel", "Gelb"),
    "any_lane": ("All lanes", "Tous les circuits", "Alle kanalen", "Alle Kanäle"),
    "office": ("Office", "Bureau", "Kantoor", "Zollstelle"),
    "any_office": ("All offices", "Tous les bureaux", "Alle kantoren", "Alle Zollstellen"),
    "reason": ("Reason", "Motif", "Reden", "Grund"),
    "any_reason": ("All reasons", "Tous les motifs", "Alle redenen", "Alle Gründe"),
    "sort": ("Sort by", "Trier par", "Sorteren op", "Sortieren nach"),
    "sort_risk": ("Risk", "Risque", "Risico", "Risiko"),
    "sort_time": ("Time", "Heure", "Tijd", "Zeit"),
    "sort_revenue": ("Duty at stake", "Droits en jeu", "Rechten op het spel", "Abgabenrisiko"),
    "apply": ("Apply", "Appliquer", "Toepassen", "Anwenden"),
    "risk": ("Risk", "Risque", "Risico", "Risiko"),
    "goods": ("Goods", "Marchandises", "Goederen", "Waren"),
    "why": ("Why", "Pourquoi", "Waarom", "Warum"),
    "at_stake": ("At stake", "En jeu", "Op het spel", "Risiko in €"),
    "declared_at": ("Declared", "Déclarée", "Aangegeven", "Angemeldet"),
    "who": ("Assigned to", "Attribuée à", "Toegewezen aan", "Zugewiesen an"),
    "nobody": ("Nobody", "Personne", "Niemand", "Niemand"),
    "you": ("You", "Vous", "U", "Sie"),
    "empty": (
        "Nothing is waiting here.",
        "Rien n’attend ici.",
        "Hier wacht niets.",
        "Hier wartet nichts.",
    ),
    "shown": (
        "The first {shown} of {total}; filter to see others.",
        "Les {shown} premières sur {total} ; filtrez pour voir les autres.",
        "De eerste {shown} van {total}; filter om andere te zien.",
        "Die ersten {shown} von {total}; filtern, um andere zu sehen.",
    ),
    "arrived": ("A new alert arrived.", "Nouvelle alerte.", "Nieuwe melding.", "Neuer Hinweis."),
    "more_items": (
        "and {n} more items",
        "et {n} autres articles",
        "en {n} andere artikelen",
        "und {n} weitere Positionen",
    ),
    "incomplete": (
        "Incomplete evidence",
        "Éléments incomplets",
        "Onvolledig bewijs",
        "Unvollständige Belege",
    ),
    # one alert
    "version": ("version {n}", "version {n}", "versie {n}", "Version {n}"),
    "item": ("Item {n}", "Article {n}", "Artikel {n}", "Position {n}"),
    "items": ("Items", "Articles", "Artikelen", "Positionen"),
    "photos": ("Photos", "Photos", "Foto’s", "Fotos"),
    "photo_n": (
        "Photo {n} of item {item}",
        "Photo {n} de l’article {item}",
        "Foto {n} van artikel {item}",
        "Foto {n} von Position {item}",
    ),
    "heat_map": ("Heat map", "Carte de chaleur", "Warmtekaart", "Wärmebild"),
    "heat_hint": (
        "Where the photo speaks against the declaration",
        "Où la photo contredit la déclaration",
        "Waar de foto de aangifte tegenspreekt",
        "Wo das Foto der Anmeldung widerspricht",
    ),
    "no_photo": (
        "The photo cannot be shown.",
        "La photo ne peut être affichée.",
        "De foto kan niet worden getoond.",
        "Das Foto kann nicht gezeigt werden.",
    ),
    "no_photos": (
        "No photo was declared.",
        "Aucune photo déclarée.",
        "Geen foto aangegeven.",
        "Kein Foto angemeldet.",
    ),
    "goods_text": (
        "Goods text as declared",
        "Désignation déclarée",
        "Omschrijving zoals aangegeven",
        "Warenbezeichnung laut Anmeldung",
    ),
    "words_hint": (
        "Marked words raise the risk; underlined ones lower it.",
        "Les mots marqués augmentent le risque ; les soulignés le diminuent.",
        "Gemarkeerde woorden verhogen het risico; onderstreepte verlagen het.",
        "Markierte Wörter erhöhen das Risiko; unterstrichene senken es.",
    ),
    "origin": ("Origin", "Origine", "Oorsprong", "Ursprung"),
    "dispatch": ("From", "Provenance", "Herkomst", "Versand"),
    "amount": ("Value", "Valeur", "Waarde", "Wert"),
    "mass": ("Net mass", "Masse nette", "Nettomassa", "Eigenmasse"),
    "unit_price": ("Per kg", "Par kg", "Per kg", "Je kg"),
    "unknown": ("unknown", "inconnu", "onbekend", "unbekannt"),
    "codes": (
        "Declared against likely codes",
        "Code déclaré et codes probables",
        "Aangegeven en waarschijnlijke codes",
        "Angemeldeter und wahrscheinliche Codes",
    ),
    "declared": ("declared", "déclaré", "aangegeven", "angemeldet"),
    "in_set": ("in the set", "dans l’ensemble", "in de verzameling", "in der Menge"),
    "hs_set": (
        "The right code is among {codes} in {coverage} of cases.",
        "Le bon code est parmi {codes} dans {coverage} des cas.",
        "De juiste code is een van {codes} in {coverage} van de gevallen.",
        "Der richtige Code ist in {coverage} der Fälle unter {codes}.",
    ),
    "not_among": (
        "not among the likely ones",
        "pas parmi les probables",
        "niet bij de waarschijnlijke",
        "nicht unter den wahrscheinlichen",
    ),
    "no_assessment": (
        "The assessment has not been read yet.",
        "L’évaluation n’est pas encore lue.",
        "De beoordeling is nog niet gelezen.",
        "Die Bewertung wurde noch nicht gelesen.",
    ),
    "evidence": (
        "From usual goods to this risk",
        "D’une marchandise habituelle à ce risque",
        "Van gewone goederen naar dit risico",
        "Von üblichen Waren zu diesem Risiko",
    ),
    "usual": ("Usual goods", "Marchandise habituelle", "Gewone goederen", "Übliche Waren"),
    "this_item": ("This item", "Cet article", "Dit artikel", "Diese Position"),
    "part_text": ("Goods text", "Désignation", "Omschrijving", "Warenbezeichnung"),
    "part_image": ("Photos", "Photos", "Foto’s", "Fotos"),
    "part_tabular": ("Attributes", "Attributs", "Kenmerken", "Merkmale"),
    "part_price": ("Unit price", "Prix unitaire", "Eenheidsprijs", "Stückpreis"),
    "part_history": ("Past inspections", "Contrôles passés", "Eerdere controles", "Prüfungen"),
    "part_consignments": ("Consignments", "Envois", "Zendingen", "Sendungen"),
    "part_photo_use": (
        "Other uses of the photo",
        "Autres usages",
        "Ander gebruik",
        "Andere Nutzung",
    ),
    "part_other": ("Others", "Autres", "Overige", "Übrige"),
    "attributes": (
        "What each attribute adds",
        "Ce qu’ajoute chaque attribut",
        "Wat elk kenmerk toevoegt",
        "Was jedes Merkmal beiträgt",
    ),
    "waterfall_hint": (
        "In log-odds: right of the line raises the risk, left lowers it.",
        "En log-cotes : à droite le risque monte, à gauche il baisse.",
        "In log-odds: naar rechts hoger risico, naar links lager.",
        "In Log-Odds: nach rechts steigt das Risiko, nach links sinkt es.",
    ),
    "peers": (
        "Unit price among comparable goods",
        "Prix unitaire parmi les marchandises comparables",
        "Eenheidsprijs tussen vergelijkbare goederen",
        "Stückpreis unter vergleichbaren Waren",
    ),
    "price_detail": (
        "{price} per kg; 95 % of {count} peers: {low} – {high}",
        "{price} le kg ; 95 % de {count} comparables : {low} – {high}",
        "{price} per kg; 95 % van {count} vergelijkbare: {low} – {high}",
        "{price} je kg; 95 % von {count} vergleichbaren: {low} – {high}",
    ),
    "peers_here": ("this item", "cet article", "dit artikel", "diese Position"),
    "similar": (
        "Similar past goods",
        "Marchandises semblables",
        "Vergelijkbare goederen",
        "Ähnliche frühere Waren",
    ),
    "alike": ("{share} alike", "similarité {share}", "{share} gelijkend", "{share} ähnlich"),
    "duty_difference": (
        "Duty difference under the suggested code",
        "Différence de droits avec le code suggéré",
        "Verschil in rechten onder de voorgestelde code",
        "Zollunterschied beim vorgeschlagenen Code",
    ),
    "changes": (
        "What would have been green",
        "Ce qui aurait été vert",
        "Wat groen zou zijn geweest",
        "Was grün gewesen wäre",
    ),
    "history": ("History", "Historique", "Geschiedenis", "Vorgeschichte"),
    "history_none": (
        "No other alert of this declaration or with these photos is known.",
        "Aucune autre alerte de cette déclaration ou avec ces photos.",
        "Geen andere melding van deze aangifte of met deze foto’s.",
        "Kein anderer Hinweis zu dieser Anmeldung oder diesen Fotos.",
    ),
    "traders": (
        "The parties until then",
        "Les opérateurs jusqu’alors",
        "De partijen tot dan toe",
        "Die Beteiligten bis dahin",
    ),
    "party_importer": ("Importer", "Importateur", "Importeur", "Einführer"),
    "party_seller": ("Seller", "Vendeur", "Verkoper", "Verkäufer"),
    "party_declarant": ("Declarant", "Déclarant", "Aangever", "Anmelder"),
    "found_irregular": (
        "{irregular} of {inspected} inspected items irregular",
        "{irregular} articles irréguliers sur {inspected} contrôlés",
        "{irregular} van {inspected} gecontroleerde artikelen onregelmatig",
        "{irregular} von {inspected} geprüften Positionen unregelmäßig",
    ),
    "never_inspected": ("never inspected", "jamais contrôlé", "nooit gecontroleerd", "nie geprüft"),
    "declarations_day": (
        "Other declarations within 24 hours: {n}",
        "Autres déclarations en 24 heures : {n}",
        "Andere aangiften binnen 24 uur: {n}",
        "Weitere Anmeldungen binnen 24 Stunden: {n}",
    ),
    "same_declaration": (
        "Other versions of this declaration",
        "Autres versions de cette déclaration",
        "Andere versies van deze aangifte",
        "Andere Versionen dieser Anmeldung",
    ),
    "same_photo": (
        "Other declarations with the same photo",
        "Autres déclarations avec la même photo",
        "Andere aangiften met dezelfde foto",
        "Andere Anmeldungen mit demselben Foto",
    ),
    "explaining": (
        "No explanation yet. It comes within seconds, or it could not be made.",
        "Pas encore d’explication. Elle arrive en quelques secondes, ou n’a pu être produite.",
        "Nog geen uitleg. Die komt binnen enkele seconden, of kon niet worden gemaakt.",
        "Noch keine Erklärung. Sie kommt binnen Sekunden, oder war nicht möglich.",
    ),
    "degraded": (
        "Some evidence was missing. A missing photo or price never means low risk.",
        "Des éléments manquaient. Une photo ou un prix manquant ne signifie jamais un risque bas.",
        "Er ontbrak bewijs. Een ontbrekende foto of prijs betekent nooit een laag risico.",
        "Belege fehlten. Ein fehlendes Foto oder fehlender Preis bedeutet nie geringes Risiko.",
    ),
    "evidence_image": ("Photo", "Photo", "Foto", "Foto"),
    "evidence_text": ("Goods text", "Désignation", "Omschrijving", "Warenbezeichnung"),
    "evidence_price": ("Price", "Prix", "Prijs", "Preis"),
    "whole": ("Whole declaration", "Toute la déclaration", "Hele aangifte", "Ganze Anmeldung"),
    "selection_risk": (
        "Selected by risk",
        "Sélection par risque",
        "Geselecteerd op risico",
        "Nach Risiko ausgewählt",
    ),
    "selection_profile": (
        "Selected by profile {id}",
        "Sélection par le profil {id}",
        "Geselecteerd door profiel {id}",
        "Nach Profil {id} ausgewählt",
    ),
    "selection_random": (
        "Selected at random",
        "Sélection aléatoire",
        "Willekeurig geselecteerd",
        "Zufällig ausgewählt",
    ),
    "amended": (
        "The declaration was amended since: version {n}.",
        "La déclaration a été modifiée depuis : version {n}.",
        "De aangifte is sindsdien gewijzigd: versie {n}.",
        "Die Anmeldung wurde seither geändert: Version {n}.",
    ),
    "superseded": (
        "A later version of this declaration is in the queue; decide on that one.",
        "Une version ultérieure est dans la file ; décidez sur celle-là.",
        "Een latere versie staat in de wachtrij; beslis daarover.",
        "Eine spätere Version ist in der Liste; entscheiden Sie über diese.",
    ),
    # the work
    "assign": ("Assign to me", "M’attribuer", "Aan mij toewijzen", "Mir zuweisen"),
    "release": ("Release", "Libérer", "Vrijgeven", "Freigeben"),
    "snooze": ("Snooze", "Reporter", "Uitstellen", "Zurückstellen"),
    "snooze_1": ("1 hour", "1 heure", "1 uur", "1 Stunde"),
    "snooze_4": ("4 hours", "4 heures", "4 uur", "4 Stunden"),
    "snooze_24": ("1 day", "1 jour", "1 dag", "1 Tag"),
    "snooze_72": ("3 days", "3 jours", "3 dagen", "3 Tage"),
    "snoozed_until": (
        "Snoozed until {at}",
        "Reportée jusqu’au {at}",
        "Uitgesteld tot {at}",
        "Zurückgestellt bis {at}",
    ),
    "wake": ("Wake", "Réactiver", "Terughalen", "Zurückholen"),
    "note": ("Note", "Note", "Notitie", "Notiz"),
    "note_add": ("Add note", "Ajouter", "Notitie toevoegen", "Hinzufügen"),
    "journal": ("Journal", "Journal", "Logboek", "Verlauf"),
    "decision": ("Decision", "Décision", "Beslissing", "Entscheidung"),
    "conforming": ("Conforming", "Conforme", "Conform", "Konform"),
    "irregular": ("Irregular", "Irrégulier", "Onregelmatig", "Unregelmäßig"),
    "finding": ("Finding", "Constat", "Bevinding", "Feststellung"),
    "finding_add": (
        "Another finding",
        "Autre constat",
        "Nog een bevinding",
        "Weitere Feststellung",
    ),
    "finding_remove": (
        "Remove this finding",
        "Supprimer ce constat",
        "Deze bevinding verwijderen",
        "Diese Feststellung entfernen",
    ),
    "kind": ("Kind", "Nature", "Soort", "Art"),
    "kind_misclassification": (
        "Misclassification",
        "Classement erroné",
        "Verkeerde indeling",
        "Falsche Einreihung",
    ),
    "kind_undervaluation": (
        "Undervaluation",
        "Sous-évaluation",
        "Onderwaardering",
        "Unterbewertung",
    ),
    "kind_origin": ("Origin", "Origine", "Oorsprong", "Ursprung"),
    "kind_splitting": ("Splitting", "Fractionnement", "Opsplitsing", "Aufteilung"),
    "kind_photo_reuse": (
        "Reused photo",
        "Photo réutilisée",
        "Hergebruikte foto",
        "Wiederverwendetes Foto",
    ),
    "kind_prohibited": (
        "Prohibited goods",
        "Marchandise prohibée",
        "Verboden goederen",
        "Verbotene Waren",
    ),
    "kind_other": ("Other", "Autre", "Andere", "Andere"),
    "established": (
        "Established code",
        "Code établi",
        "Vastgestelde code",
        "Festgestellter Code",
    ),
    "recovered": ("Recovered (€)", "Recouvré (€)", "Geïnd (€)", "Nacherhoben (€)"),
    "decide": ("Send decision", "Envoyer", "Beslissing verzenden", "Entscheidung senden"),
    "no_names": (
        "Goes to other systems: no names of persons.",
        "Transmis à d’autres systèmes : pas de noms de personnes.",
        "Gaat naar andere systemen: geen namen van personen.",
        "Geht an andere Systeme: keine Personennamen.",
    ),
    "decided_by": (
        "Decided on {at}",
        "Décidée le {at}",
        "Beslist op {at}",
        "Entschieden am {at}",
    ),
    "sending": (
        "Being sent …",
        "En cours d’envoi …",
        "Wordt verzonden …",
        "Wird gesendet …",
    ),
    "sent": ("Sent", "Envoyée", "Verzonden", "Gesendet"),
    "reopen": ("Reopen", "Rouvrir", "Heropenen", "Wieder öffnen"),
    "look_only": (
        "You may look, but not act.",
        "Vous pouvez consulter, sans agir.",
        "U mag kijken, niet handelen.",
        "Sie dürfen ansehen, nicht handeln.",
    ),
    "act_assigned": ("took it", "l’a prise", "nam het", "übernommen"),
    "act_released": ("released it", "l’a libérée", "gaf het vrij", "freigegeben"),
    "act_snoozed": ("snoozed it", "l’a reportée", "stelde uit", "zurückgestellt"),
    "act_woken": ("woke it", "l’a réactivée", "haalde terug", "zurückgeholt"),
    "act_note": ("noted", "a noté", "noteerde", "notierte"),
    "act_conforming": (
        "decided: conforming",
        "a décidé : conforme",
        "besliste: conform",
        "entschied: konform",
    ),
    "act_irregular": (
        "decided: irregular",
        "a décidé : irrégulier",
        "besliste: onregelmatig",
        "entschied: unregelmäßig",
    ),
    "act_reopened": ("reopened it", "l’a rouverte", "heropende", "wieder geöffnet"),
    # what can go wrong
    "problem": ("This did not work", "Cela n’a pas marché", "Dat lukte niet", "Nicht möglich"),
    "back": ("Back to the queue", "Retour à la file", "Terug naar de wachtrij", "Zur Liste"),
    "taken": (
        "{name} has this alert.",
        "{name} a pris cette alerte.",
        "{name} heeft deze melding.",
        "{name} hat diesen Hinweis.",
    ),
    "decided_already": (
        "It was already decided. Look at the decision before you go on.",
        "Déjà décidée. Regardez la décision avant de continuer.",
        "Al beslist. Bekijk eerst de beslissing.",
        "Schon entschieden. Sehen Sie sich zuerst die Entscheidung an.",
    ),
    "no_page": (
        "There is no such page.",
        "Cette page n’existe pas.",
        "Deze pagina bestaat niet.",
        "Diese Seite gibt es nicht.",
    ),
    "unreadable": (
        "The console cannot read this request.",
        "La console ne peut lire cette demande.",
        "De console kan dit verzoek niet lezen.",
        "Die Konsole kann diese Anfrage nicht lesen.",
    ),
    "broken": (
        "The console has a fault; its log says more. No decision is sent twice.",
        "La console a un défaut ; son journal en dit plus. Aucune décision ne part deux fois.",
        "De console heeft een fout; het logboek zegt meer. Geen beslissing gaat tweemaal weg.",
        "Ein Fehler der Konsole; ihr Protokoll sagt mehr. Keine Entscheidung geht doppelt weg.",
    ),
    "no_case": (
        "There is no such alert.",
        "Cette alerte n’existe pas.",
        "Deze melding bestaat niet.",
        "Diesen Hinweis gibt es nicht.",
    ),
    "not_allowed": (
        "Your role does not allow this.",
        "Votre rôle ne le permet pas.",
        "Uw rol staat dit niet toe.",
        "Ihre Rolle erlaubt das nicht.",
    ),
    "not_known": (
        "You are not signed in.",
        "Vous n’êtes pas connecté.",
        "U bent niet aangemeld.",
        "Sie sind nicht angemeldet.",
    ),
    "token_wrong": (
        "The page is too old or not ours. Load it again; nothing was sent.",
        "Page trop ancienne ou étrangère. Rechargez-la ; rien n’a été envoyé.",
        "De pagina is te oud of niet van ons. Laad opnieuw; er is niets verzonden.",
        "Die Seite ist zu alt oder fremd. Neu laden; es wurde nichts gesendet.",
    ),
    "note_empty": ("The note is empty.", "La note est vide.", "Lege notitie.", "Leere Notiz."),
    "amount_wrong": (
        "The amount is not one: write 1234.50.",
        "Montant incorrect : écrivez 1234,50.",
        "Geen geldig bedrag: schrijf 1234,50.",
        "Kein gültiger Betrag: 1234,50 schreiben.",
    ),
    "code_wrong": (
        "A code has 6, 8 or 10 digits.",
        "Un code a 6, 8 ou 10 chiffres.",
        "Een code heeft 6, 8 of 10 cijfers.",
        "Ein Code hat 6, 8 oder 10 Ziffern.",
    ),
    "code_missing": (
        "A misclassification needs the established code, another than declared.",
        "Un classement erroné demande le code établi, autre que le déclaré.",
        "Een verkeerde indeling vraagt de vastgestelde code, anders dan aangegeven.",
        "Eine falsche Einreihung braucht den festgestellten Code, nicht den angemeldeten.",
    ),
    "finding_missing": (
        "Irregular needs at least one finding on an item.",
        "Irrégulier demande au moins un constat sur un article.",
        "Onregelmatig vraagt minstens één bevinding bij een artikel.",
        "Unregelmäßig braucht mindestens eine Feststellung zu einer Position.",
    ),
    "findings_unexpected": (
        "Conforming has no findings.",
        "Conforme : sans constat.",
        "Conform heeft geen bevindingen.",
        "Konform hat keine Feststellungen.",
    ),
    "result_missing": (
        "Choose conforming or irregular.",
        "Choisissez conforme ou irrégulier.",
        "Kies conform of onregelmatig.",
        "Wählen Sie konform oder unregelmäßig.",
    ),
    "failed": (
        "Not sent: the console does not answer. Try again; it will not be sent twice.",
        "Pas envoyé : pas de réponse. Réessayez ; ce ne sera pas envoyé deux fois.",
        "Niet verzonden: geen antwoord. Probeer opnieuw; het gaat niet tweemaal weg.",
        "Nicht gesendet: keine Antwort. Erneut versuchen; es wird nicht doppelt gesendet.",
    ),
    # keys
    "key_move": (
        "next, previous",
        "suivante, précédente",
        "volgende, vorige",
        "nächster, voriger",
    ),
    "key_open": ("open", "ouvrir", "openen", "öffnen"),
    "key_filter": ("filter", "filtrer", "filteren", "filtern"),
}

SHORT_REASONS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "code_not_in_text": ("Text ≠ code", "Texte ≠ code", "Tekst ≠ code", "Text ≠ Code"),
    "code_not_in_photo": ("Photo ≠ code", "Photo ≠ code", "Foto ≠ code", "Foto ≠ Code"),
    "code_unlikely": ("Unlikely code", "Code peu probable", "Onwaarschijnlijk", "Code fraglich"),
    "text_photo_disagree": ("Text ≠ photo", "Texte ≠ photo", "Tekst ≠ foto", "Text ≠ Foto"),
    "unit_price_low": ("Low price", "Prix bas", "Lage prijs", "Niedriger Preis"),
    "text_vague": ("Vague text", "Texte vague", "Vage tekst", "Vager Text"),
    "photo_reused": ("Reused photo", "Photo réutilisée", "Foto hergebruikt", "Foto mehrfach"),
    "consignment_split": ("Splitting", "Fractionnement", "Opsplitsing", "Aufteilung"),
    "like_past_irregularities": ("History", "Antécédents", "Verleden", "Vorgeschichte"),
}
"""A few words for each signal, where there is no room for its text."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language, and how it writes numbers and times."""

    code: str
    zone: ZoneInfo

    def t(self, key: str, **words: object) -> str:
        """Return a text, with words put in."""
        text = T[key][LANGUAGES.index(self.code)]
        return text.format(**words) if words else text

    def has(self, key: str) -> bool:
        """Tell whether there is such a text."""
        return key in T

    def reason(self, code: str) -> str:
        """Return the text of a reason code; an unknown code is its own text."""
        return reason_text(code, self.code)

    def short_reason(self, code: str) -> str:
        """Return a few words for a reason code."""
        found = SHORT_REASONS.get(code)
        return found[LANGUAGES.index(self.code)] if found else code.replace("_", " ")

    def part(self, name: str) -> str:
        """Return the name of a part of the evidence."""
        key = f"part_{name}"
        return self.t(key) if key in T else name.replace("_", " ").capitalize()

    def number(self, value: float | Decimal, places: int = 0) -> str:
        """Return a number with its separators."""
        text = f"{value:,.{places}f}"
        thousands, decimal = {"en": (",", "."), "fr": ("\u202f", ",")}.get(self.code, (".", ","))
        return text.translate({ord(","): thousands, ord("."): decimal})

    def mass(self, value: Decimal) -> str:
        """Return a mass in kilogram, with the digits that were declared, at least two."""
        places = -int(value.normalize().as_tuple().exponent)
        return f"{self.number(value, max(2, places))}\xa0kg"

    def percent(self, share: float) -> str:
        """Return a share; never 0 or 100 % of what is not quite that."""
        value = min(max(share, 0.0), 1.0) * 100
        if 0 < value < 1:
            return f"< {self._percent(1)}"
        return self._percent(min(round(value), 99) if value < 100 else 100)  # noqa: PLR2004

    def _percent(self, value: int) -> str:
        return f"{value}%" if self.code == "en" else f"{value}\xa0%"

    def money(self, value: float | Decimal, currency: str = "EUR", places: int = 2) -> str:
        """Return an amount of money."""
        sign = {"EUR": "€"}.get(currency, currency)
        amount = self.number(value, places)
        if self.code in {"fr", "de"}:
            return f"{amount}\xa0{sign}"
        return f"{sign}{amount}" if self.code == "en" and sign == "€" else f"{sign}\xa0{amount}"

    def moment(self, milliseconds: int) -> str:
        """Return a day and time in the console's time zone."""
        at = EPOCH + timedelta(milliseconds=milliseconds)
        with contextlib.suppress(OverflowError):  # the last day of the year 9999, and the first
            at = at.astimezone(self.zone)
        return at.strftime("%d.%m.%Y %H:%M" if self.code == "de" else "%d/%m/%Y %H:%M")

    def code_name(self, code: str) -> str:
        """Return what goods a code is of; empty where that is not known."""
        return code_names(self.code).get(code[:6], "")


def reason_text(code: str, language: str) -> str:
    """Return the text of a reason code; an unknown code, of a newer worker, is its own text."""
    try:
        return TEXTS_IN[language][Reason(code)]
    except ValueError:
        return code.replace("_", " ")


@cache
def code_names(language: str) -> dict[str, str]:
    """Return HS6 code → its first line in the Combined Nomenclature, shortened."""
    try:
        every = lines()
    except FileNotFoundError:
        return {}
    place = LANGUAGES.index(language)
    names: dict[str, str] = {}
    for line in every:
        if line.hs6 not in names:
            name = without_exclusions(line.texts[place])
            names[line.hs6] = name if len(name) <= SHORT else f"{name[: SHORT - 1].rstrip()}…"
    return names


def chosen(accepted: str) -> str:
    """Return the best of our languages for an Accept-Language header."""
    best, weight = LANGUAGES[0], 0.0
    for part in accepted[:MAX_HEADER].split(",")[:ACCEPTED]:
        found = WEIGHTED.fullmatch(part)
        if found is None:
            continue
        try:
            q = float(found["q"] or 1)
        except ValueError:
            continue
        if found["tag"].lower() in LANGUAGES and q > weight:
            best, weight = found["tag"].lower(), q
    return best
